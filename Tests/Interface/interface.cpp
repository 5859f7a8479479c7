// interface.cpp HEAP [SOCKET]: linuxheaps.hpp, as a program in C++20 uses it, on a heap of this machine, and on the service at SOCKET.
#include <linuxheaps.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <poll.h>

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      std::fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
      std::exit(1); \
    } \
  } while (0)

template <class Call> static int refused(Call &&call) {
  try {
    call();
  } catch (const linuxheaps::error &error) {
    CHECK(std::string(error.what()).size() > 10);
    return error.code();
  }
  return LHEAP_OK;
}

static void fences(linuxheaps::vmo &vmo) {
  if (vmo.kind() == LHEAP_DMA_BUF) {
    auto fence = vmo.export_fence(LHEAP_READ);
    CHECK(linuxheaps::wait(fence, std::chrono::seconds(1)) && linuxheaps::wait(fence));
    vmo.import_fence(fence, LHEAP_WRITE);
    vmo.set_name("a name");
  } else {
    CHECK(refused([&] { (void)vmo.export_fence(LHEAP_READ); }) == LHEAP_NOT_SUPPORTED);
    CHECK(refused([&] { vmo.import_fence({}, LHEAP_WRITE); }) == LHEAP_BAD_HANDLE);
    CHECK(refused([&] { vmo.set_name("a name"); }) == LHEAP_NOT_SUPPORTED);
  }
  CHECK(refused([] { linuxheaps::wait({}); }) == LHEAP_BAD_HANDLE);
}

// A heap of this machine has a name that its vmos tell.
static void run(linuxheaps::heap &heap, const std::optional<std::string> &name) {
  std::atomic<int> cleanups = 0;
  std::uint64_t page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  {
    auto vmo = heap.allocate(2 * page, false, linuxheaps::buffer_key{9, 4}, [&] { cleanups++; });
    CHECK(vmo.size() == 2 * page && vmo.offset() == 0 && vmo.fd() >= 0 && (!name || vmo.heap_name() == name));
    CHECK(heap.key_of(vmo).index == 4);
    auto tracker = heap.track(9);
    {
      auto mapping = vmo.map();
      auto access = mapping.write();
      std::ranges::fill(access.bytes(), std::byte{7});
    }
    auto slice = vmo.slice(page, page);
    auto mapping = slice.map_read_only();
    CHECK(mapping.size() == page && mapping.read().bytes().size() == page && mapping.read().bytes()[0] == std::byte{7});
    CHECK(refused([&] { (void)vmo.slice(1, page); }) == LHEAP_INVALID_ARGS);
    CHECK(refused([&] { (void)heap.allocate(0); }) == LHEAP_INVALID_ARGS);
    fences(vmo);
    auto copy = std::move(vmo);
    auto adopted = linuxheaps::vmo::adopt(copy.duplicate().release_fd());
    CHECK(adopted.size() == 2 * page && !adopted.heap_name());
    CHECK(heap.live_count() == 1 && cleanups == 0);
    pollfd wait{tracker.get(), POLLIN, 0};
    CHECK(poll(&wait, 1, 0) == 0);
  }
  const auto end = [&] {
    for (int turn = 0; turn < 1000 && heap.live_count() > 0; turn++) {
      pollfd wait{heap.event_fd(), POLLIN, 0};
      // A service's end is told to a thread.
      if (wait.fd < 0) usleep(5000);
      else CHECK(poll(&wait, 1, 5000) == 1);
      heap.dispatch();
    }
    CHECK(heap.live_count() == 0);
  };
  end();
  CHECK(cleanups == 1);
  heap.remove(heap.allocate(page));
  CHECK(heap.live_count() == 0);
  linuxheaps::heap other("memfd", LHEAP_OWN_LOOP);
  CHECK(refused([&] { other.remove(heap.allocate(page)); }) == LHEAP_NOT_FOUND);
  end();
}

int main(int count, char **words) {
  if (count < 2) return 64;
  linuxheaps::heap heap(words[1], LHEAP_OWN_LOOP);
  run(heap, words[1]);
  if (count > 2) {
    auto service = linuxheaps::heap::connect(words[2]);
    run(service, std::nullopt);
  }
  CHECK(refused([] { linuxheaps::heap("no-such-heap"); }) == LHEAP_NOT_FOUND);
  CHECK(refused([] { linuxheaps::heap::connect("/nowhere/heap.sock"); }) == LHEAP_NOT_FOUND);
  std::printf("%s: C++ passes\n", words[1]);
}
