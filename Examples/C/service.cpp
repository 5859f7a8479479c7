// service.cpp: what service.c does, in C++20.
//
//   c++ -std=c++20 service.cpp $(pkg-config --cflags --libs linuxheaps) -o service && ./service /tmp/buffers.sock
#include <linuxheaps.hpp>

#include <cerrno>
#include <cstring>
#include <iostream>
#include <poll.h>
#include <string_view>
#include <sys/socket.h>
#include <sys/un.h>
#include <system_error>
#include <vector>

using linuxheaps::descriptor;

constexpr std::size_t most_clients = 32;

// What the system refuses is thrown.
static int check(int result, const char *what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

static descriptor listen_at(std::string_view path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) throw std::invalid_argument("the socket's path is too long");
  path.copy(address.sun_path, path.size());
  descriptor listener(check(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), "socket"));
  check(bind(listener.get(), reinterpret_cast<sockaddr *>(&address), sizeof address), "bind");
  check(listen(listener.get(), 8), "listen");
  return listener;
}

static bool send(int client, std::uint64_t size, int fd) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)]{};
  iovec bytes{&size, sizeof size};
  msghdr message{};
  message.msg_iov = &bytes;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof size;
}

// Answers one request; false where the client is gone or wrong.
static bool serve(linuxheaps::heap &heap, int client) {
  std::uint64_t size = 0;
  if (recv(client, &size, sizeof size, 0) != sizeof size) return false;
  try {
    auto vmo = heap.allocate(size, false, std::nullopt, [size] { std::cout << size << " bytes asked for have ended" << std::endl; });
    return send(client, vmo.size(), vmo.fd());
  } catch (const linuxheaps::error &error) {
    std::cerr << error.what() << '\n';
    return false;
  }
}

int main(int count, char **words) try {
  if (count != 2) {
    std::cerr << "usage: service SOCKET\n";
    return 64;
  }
  linuxheaps::heap heap(std::nullopt, LHEAP_OWN_LOOP);
  auto listener = listen_at(words[1]);
  std::vector<descriptor> clients;
  for (;;) {
    std::vector<pollfd> waits{{heap.event_fd(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
    for (const auto &client : clients) waits.push_back({client.get(), POLLIN, 0});
    if (poll(waits.data(), waits.size(), -1) < 0 && errno != EINTR) check(-1, "poll");
    if (waits[0].revents) heap.dispatch();
    std::vector<descriptor> left;
    for (std::size_t index = 0; index < clients.size(); index++) {
      if (waits[index + 2].revents == 0 || serve(heap, clients[index].get())) left.push_back(std::move(clients[index]));
    }
    clients = std::move(left);
    if (waits[1].revents == 0) continue;
    // One that has gone again is none; one too many is closed.
    descriptor client(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (client.get() >= 0 && clients.size() < most_clients) clients.push_back(std::move(client));
  }
} catch (const std::exception &error) {
  std::cerr << error.what() << '\n';
  return 1;
}
