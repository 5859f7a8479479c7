// interface.cpp HEAP [SOCKET]: linuxheaps.hpp, as a program in C++20 uses it, on a heap of this machine, and on the service at SOCKET.
#include <linuxheaps.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
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

// Who reads gets const bytes, and none outlive their access.
using reading = decltype(std::declval<const linuxheaps::mapping &>().read());
using writing = decltype(std::declval<linuxheaps::mapping &>().write());
static_assert(std::is_same_v<decltype(std::declval<reading &>().bytes()), std::span<const std::byte>>);
static_assert(std::is_same_v<decltype(std::declval<writing &>().bytes()), std::span<std::byte>>);
template <class Access> concept lends = requires(Access &&access) { std::forward<Access>(access).bytes(); };
static_assert(lends<reading &> && lends<writing &> && !lends<reading> && !lends<writing>);

// How long the last wait was to last. linuxheaps.hpp calls this one: a program's own name comes before a library's.
static std::int64_t waited;
extern "C" int lheap_fence_wait(int fence, std::int64_t nanoseconds, lheap_error **error) {
  waited = nanoseconds;
  static const auto next = reinterpret_cast<decltype(&lheap_fence_wait)>(dlsym(RTLD_NEXT, "lheap_fence_wait"));
  return next(fence, nanoseconds, error);
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
  CHECK(refused([] { linuxheaps::wait({}); }) == LHEAP_BAD_HANDLE && waited < 0);
  CHECK(refused([] { linuxheaps::wait({}, std::chrono::seconds(-1)); }) == LHEAP_BAD_HANDLE && waited == 0);
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
    auto access = mapping.read();
    CHECK(mapping.size() == page && access.bytes().size() == page && access.bytes()[0] == std::byte{7});
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
  // What is refused is not cleaned up.
  int contiguous = refused([&] { (void)heap.allocate(page, true, std::nullopt, [&] { cleanups++; }); });
  end();
  CHECK(contiguous == LHEAP_NOT_SUPPORTED ? cleanups == 1 : contiguous == LHEAP_OK && cleanups == 2);
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
