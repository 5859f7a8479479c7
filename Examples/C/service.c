/* service.c: hands buffers to whoever connects to the socket in its only argument. A client sends 8 bytes, a size; it is answered by 8
 * bytes, the buffer's size, with its descriptor. The service keeps nothing: it is told when a buffer has ended, in its own loop.
 *
 *   cc service.c $(pkg-config --cflags --libs linuxheaps) -o service && ./service /tmp/buffers.sock
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linuxheaps.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MOST_CLIENTS = 32 };

static int refused(lheap_error *error) {
  fprintf(stderr, "%s\n", lheap_error_message(error));
  lheap_error_free(error);
  return 1;
}

static void ended(void *size) {
  printf("a buffer of %zu bytes has ended\n", *(size_t *)size);
  fflush(stdout);
  free(size);
}

/* Answers one request; false where the client is gone or wrong. */
static bool serve(lheap *heap, int client) {
  uint64_t size;
  if (recv(client, &size, sizeof size, 0) != sizeof size) return false;
  size_t *data = malloc(sizeof *data);
  if (!data) return false;
  lheap_settings settings = {.size = sizeof settings, .cleanup = ended, .data = data};
  lheap_error *error = NULL;
  lheap_vmo *vmo = NULL;
  if (lheap_allocate(heap, size, &settings, &vmo, &error) != LHEAP_OK) {
    refused(error);
    free(data);
    return false;
  }
  size = *data = lheap_vmo_byte_count(vmo);
  int fd = lheap_vmo_lend_fd(vmo);
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof fd)];
  } control = {.header = {.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct iovec bytes = {.iov_base = &size, .iov_len = sizeof size};
  struct msghdr message = {
      .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
  bool sent = sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof size;
  lheap_vmo_close(vmo);
  return sent;
}

int main(int count, char **words) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (count != 2 || strlen(words[1]) >= sizeof address.sun_path) {
    fprintf(stderr, "usage: service SOCKET\n");
    return 64;
  }
  strcpy(address.sun_path, words[1]);
  lheap *heap = NULL;
  lheap_error *error = NULL;
  if (lheap_open(NULL, LHEAP_OWN_LOOP, &heap, &error) != LHEAP_OK) return refused(error);
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
    perror(words[1]);
    return 1;
  }
  struct pollfd waits[2 + MOST_CLIENTS] = {
      {.fd = lheap_event_fd(heap), .events = POLLIN}, {.fd = listener, .events = POLLIN}};
  nfds_t waiting = 2;
  while (poll(waits, waiting, -1) >= 0 || errno == EINTR) {
    if (waits[0].revents) lheap_dispatch(heap);
    for (nfds_t index = waiting - 1; index >= 2; index--) {
      if (waits[index].revents == 0 || serve(heap, waits[index].fd)) continue;
      close(waits[index].fd);
      waits[index] = waits[--waiting];
    }
    int client = waits[1].revents ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
    if (client < 0) continue;
    if (waiting == 2 + MOST_CLIENTS) close(client);
    else waits[waiting++] = (struct pollfd){.fd = client, .events = POLLIN};
  }
  perror("poll");
  return 1;
}
