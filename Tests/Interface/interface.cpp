// interface.cpp HEAP: linuxheaps.hpp, as a program in C++20 uses it.
#include <linuxheaps.hpp>

#include <algorithm>
#include <atomic>
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

int main(int count, char **words) {
  if (count < 2) return 64;
  linuxheaps::heap heap(words[1], LHEAP_OWN_LOOP);
  std::atomic<int> cleanups = 0;
  std::uint64_t page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  {
    auto vmo = heap.allocate(2 * page, false, linuxheaps::buffer_key{9, 4}, [&] { cleanups++; });
    CHECK(vmo.size() == 2 * page && vmo.heap_name() == words[1]);
    CHECK(heap.key_of(vmo).index == 4);
    auto tracker = heap.track(9);
    {
      auto mapping = vmo.map();
      auto access = mapping.write();
      std::ranges::fill(access.bytes(), std::byte{7});
    }
    auto slice = vmo.slice(page, page);
    auto mapping = slice.map_read_only();
    CHECK(mapping.read().bytes().size() == page && mapping.read().bytes()[0] == std::byte{7});
    CHECK(refused([&] { (void)vmo.slice(1, page); }) == LHEAP_INVALID_ARGS);
    CHECK(refused([&] { (void)heap.allocate(0); }) == LHEAP_INVALID_ARGS);
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
      CHECK(poll(&wait, 1, 5000) == 1);
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
  CHECK(refused([] { linuxheaps::heap("no-such-heap"); }) == LHEAP_NOT_FOUND);
  CHECK(refused([] { linuxheaps::heap::connect("/nowhere/heap.sock"); }) == LHEAP_NOT_FOUND);
  std::printf("%s: C++ passes\n", words[1]);
}
