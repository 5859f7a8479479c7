// linuxheaps.hpp: linuxheaps.h with owners, exceptions and spans, for C++20. All of it is inline: it needs no library but liblinuxheaps.
#ifndef LINUXHEAPS_HPP
#define LINUXHEAPS_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

#include <unistd.h>

#include "linuxheaps.h"

namespace linuxheaps {

// What was refused, by whom, why, and what would help.
class error : public std::runtime_error {
 public:
  // Takes `refusal`, and frees it.
  explicit error(lheap_error *refusal)
      : std::runtime_error(lheap_error_message(refusal)),
        code_(lheap_error_code(refusal)), errno_(lheap_error_errno(refusal)),
        fix_(lheap_error_fix(refusal) ? lheap_error_fix(refusal) : "") {
    lheap_error_free(refusal);
  }

  // One of enum lheap_code.
  int code() const noexcept { return code_; }
  // 0 where the kernel refused nothing.
  int system_errno() const noexcept { return errno_; }
  // Empty where nothing is known.
  const std::string &fix() const noexcept { return fix_; }

 private:
  int code_, errno_;
  std::string fix_;
};

namespace detail {

// Calls what takes a lheap_error ** last.
template <class Call> void check(Call &&call) {
  lheap_error *refusal = nullptr;
  if (call(&refusal) != LHEAP_OK) throw error(refusal);
}

template <auto Free> struct deleter {
  template <class Object> void operator()(Object *object) const noexcept { Free(object); }
};

}  // namespace detail

// A descriptor that is closed with its owner: a buffer's, a fence, or what a collection's end is watched with.
class descriptor {
 public:
  descriptor() noexcept = default;
  explicit descriptor(int number) noexcept : number_(number) {}
  descriptor(descriptor &&other) noexcept : number_(other.release()) {}
  descriptor &operator=(descriptor &&other) noexcept {
    if (this != &other) {
      if (number_ >= 0) ::close(number_);
      number_ = other.release();
    }
    return *this;
  }
  ~descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  // -1 where there is none.
  int get() const noexcept { return number_; }
  // The caller closes it.
  int release() noexcept { return std::exchange(number_, -1); }

 private:
  int number_ = -1;
};

// A vmo's bytes in this process.
class mapping {
 public:
  // A time in which the processor works on the bytes, const std::byte where it only reads; it must not outlive the mapping.
  template <class Byte> class access {
   public:
    access(const access &) = delete;
    access &operator=(const access &) = delete;
    ~access() { lheap_mapping_end(mapping_, kind, nullptr); }

    // For as long as the access lives.
    std::span<Byte> bytes() const & noexcept {
      return {static_cast<Byte *>(lheap_mapping_data(mapping_)), lheap_mapping_byte_count(mapping_)};
    }
    std::span<Byte> bytes() const && = delete;

   private:
    friend class mapping;
    static constexpr int kind = std::is_const_v<Byte> ? LHEAP_READ : LHEAP_READ_WRITE;

    explicit access(lheap_mapping *mapping) : mapping_(mapping) {
      detail::check([&](lheap_error **error) { return lheap_mapping_begin(mapping_, kind, error); });
    }

    lheap_mapping *mapping_;
  };

  explicit mapping(lheap_mapping *object) noexcept : object_(object) {}

  std::size_t size() const noexcept { return lheap_mapping_byte_count(object_.get()); }
  [[nodiscard]] access<const std::byte> read() const { return access<const std::byte>(object_.get()); }
  [[nodiscard]] access<std::byte> write() { return access<std::byte>(object_.get()); }

 private:
  std::unique_ptr<lheap_mapping, detail::deleter<lheap_unmap>> object_;
};

// A handle to a buffer, or to a range of one.
class vmo {
 public:
  explicit vmo(lheap_vmo *object) noexcept : object_(object) {}

  // Takes a dma-buf's descriptor, or a memfd's that is sealed against shrinking.
  static vmo adopt(descriptor &&fd) {
    return make([&](lheap_vmo **made, lheap_error **error) { return lheap_vmo_adopt_take(fd.release(), made, error); });
  }

  vmo duplicate() const {
    return make([&](lheap_vmo **made, lheap_error **error) { return lheap_vmo_duplicate(get(), made, error); });
  }

  // Offset and size in bytes, whole pages.
  vmo slice(std::uint64_t offset, std::uint64_t size) const {
    return make([&](lheap_vmo **made, lheap_error **error) { return lheap_vmo_slice(get(), offset, size, made, error); });
  }

  mapping map() { return mapped(LHEAP_READ_WRITE); }
  mapping map_read_only() const { return mapped(LHEAP_READ); }

  std::uint64_t offset() const noexcept { return lheap_vmo_offset(get()); }
  std::uint64_t size() const noexcept { return lheap_vmo_byte_count(get()); }
  int kind() const noexcept { return lheap_vmo_kind(get()); }
  // Nothing for a vmo that came from elsewhere.
  std::optional<std::string> heap_name() const {
    const char *name = lheap_vmo_heap_name(get());
    return name ? std::optional<std::string>(name) : std::nullopt;
  }
  void set_name(const std::string &name) {
    detail::check([&](lheap_error **error) { return lheap_vmo_set_name(get(), name.c_str(), error); });
  }

  // Lives as long as the vmo.
  int fd() const noexcept { return lheap_vmo_lend_fd(get()); }
  descriptor release_fd() && { return descriptor(lheap_vmo_release_fd(object_.release())); }

  // What has to be waited for before the buffer is used so.
  descriptor export_fence(lheap_access use) const {
    int fence = -1;
    detail::check([&](lheap_error **error) { return lheap_vmo_export_fence(get(), use, &fence, error); });
    return descriptor(fence);
  }
  void import_fence(const descriptor &fence, lheap_access use) {
    detail::check([&](lheap_error **error) { return lheap_vmo_import_fence(get(), fence.get(), use, error); });
  }

  lheap_vmo *get() const noexcept { return object_.get(); }

 private:
  friend class heap;

  template <class Call> static vmo make(Call &&call) {
    lheap_vmo *made = nullptr;
    detail::check([&](lheap_error **error) { return call(&made, error); });
    return vmo(made);
  }

  mapping mapped(int access) const {
    lheap_mapping *made = nullptr;
    detail::check([&](lheap_error **error) { return lheap_map(get(), access, &made, error); });
    return mapping(made);
  }

  std::unique_ptr<lheap_vmo, detail::deleter<lheap_vmo_close>> object_;
};

// Which buffer of which collection.
struct buffer_key {
  std::uint64_t collection, index;
};

class heap {
 public:
  // Nothing for the kernel's heaps by the memory that is asked for. Flags: enum lheap_open_flags.
  explicit heap(const std::optional<std::string> &name = std::nullopt, unsigned flags = 0) {
    lheap *made = nullptr;
    detail::check(
        [&](lheap_error **error) { return lheap_open(name ? name->c_str() : nullptr, flags, &made, error); });
    object_.reset(made);
  }

  // A service's, heapd's own where no path is given.
  static heap connect(const std::optional<std::string> &socket = std::nullopt) {
    lheap *made = nullptr;
    detail::check([&](lheap_error **error) { return lheap_connect(socket ? socket->c_str() : nullptr, &made, error); });
    return heap(made);
  }

  vmo allocate(std::uint64_t size, bool contiguous = false) { return allocate(size, contiguous, std::nullopt, {}); }

  // `cleanup` is called once when the buffer's last child is gone; it must not throw. Where the service of connect() ends first it is not
  // called, and its state leaks.
  vmo allocate(std::uint64_t size, bool contiguous, std::optional<buffer_key> key, std::function<void()> cleanup) {
    lheap_settings settings{};
    settings.size = sizeof settings;
    if (contiguous) settings.flags |= LHEAP_CONTIGUOUS;
    if (key) settings.flags |= LHEAP_NAMED;
    if (key) {
      settings.collection = key->collection;
      settings.index = key->index;
    }
    std::unique_ptr<std::function<void()>> action;
    if (cleanup) {
      action = std::make_unique<std::function<void()>>(std::move(cleanup));
      settings.data = action.get();
      settings.cleanup = [](void *data) {
        std::unique_ptr<std::function<void()>> action(static_cast<std::function<void()> *>(data));
        (*action)();
      };
    }
    vmo made = vmo::make(
        [&](lheap_vmo **vmo, lheap_error **error) { return lheap_allocate(get(), size, &settings, vmo, error); });
    action.release();
    return made;
  }

  // Returns when all of the buffer is gone. The handle is closed, also where it throws.
  void remove(vmo &&last) {
    lheap_vmo *object = last.object_.release();
    detail::check([&](lheap_error **error) { return lheap_delete(get(), object, error); });
  }

  buffer_key key_of(const vmo &vmo) {
    buffer_key key{};
    detail::check(
        [&](lheap_error **error) { return lheap_buffer_of(get(), vmo.get(), &key.collection, &key.index, error); });
    return key;
  }

  // Hangs up once at most `remaining` buffers of the collection are left.
  descriptor track(std::uint64_t collection, std::uint32_t remaining = 0) {
    int fd = -1;
    detail::check([&](lheap_error **error) { return lheap_track(get(), collection, remaining, &fd, error); });
    return descriptor(fd);
  }

  std::size_t live_count() const noexcept { return lheap_live_count(get()); }
  // For LHEAP_OWN_LOOP.
  int event_fd() const noexcept { return lheap_event_fd(get()); }
  void dispatch() noexcept { lheap_dispatch(get()); }

  lheap *get() const noexcept { return object_.get(); }

 private:
  explicit heap(lheap *object) noexcept : object_(object) {}

  std::unique_ptr<lheap, detail::deleter<lheap_close>> object_;
};

// False where the fence is not signalled by then, at once where the time is not positive. Nothing for any time.
inline bool wait(const descriptor &fence, std::optional<std::chrono::nanoseconds> limit = std::nullopt) {
  lheap_error *refusal = nullptr;
  // A negative number would be for ever.
  std::int64_t time = limit ? std::max<std::int64_t>(limit->count(), 0) : -1;
  int code = lheap_fence_wait(fence.get(), time, &refusal);
  if (code == LHEAP_OK) return true;
  error thrown(refusal);
  if (code == LHEAP_TIMED_OUT) return false;
  throw thrown;
}

}  // namespace linuxheaps

#endif
