/* interface.c HEAP [SOCKET]: each function of linuxheaps.h, on a heap of this machine, and on the service at SOCKET. Prints a line for
 * each part, and ends with 1 at the first that is not as the header says. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linuxheaps.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *part = "";

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "%s: line %d: %s\n", part, __LINE__, #condition); \
      exit(1); \
    } \
  } while (0)

/* A call that has to work. */
#define DO(call) \
  do { \
    lheap_error *error = NULL; \
    int code = (call); \
    if (code != LHEAP_OK) { \
      fprintf(stderr, "%s: line %d: %s\n", part, __LINE__, error ? lheap_error_message(error) : #call); \
      exit(1); \
    } \
    CHECK(error == NULL); \
  } while (0)

/* A call that has to be refused with a code, by an error that says what for and why. */
#define REFUSED(expected, call) \
  do { \
    lheap_error *error = NULL; \
    CHECK((call) == (expected)); \
    CHECK(error != NULL && lheap_error_code(error) == (expected)); \
    CHECK(strlen(lheap_error_operation(error)) > 3 && strlen(lheap_error_cause(error)) > 3); \
    CHECK(strstr(lheap_error_message(error), lheap_error_operation(error)) == lheap_error_message(error)); \
    CHECK(strstr(lheap_error_message(error), lheap_error_cause(error)) != NULL); \
    lheap_error_free(error); \
  } while (0)

#include "descriptors.h"

static int threads(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/task");
  CHECK(directory != NULL);
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) count += entry->d_name[0] != '.';
  closedir(directory);
  return count;
}

static bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

static bool hung_up(int fd, int milliseconds) {
  struct pollfd wait = {.fd = fd, .events = POLLIN};
  return poll(&wait, 1, milliseconds) == 1 && (wait.revents & POLLHUP) != 0;
}

static lheap *opened(const char *name, unsigned flags) {
  lheap *heap = NULL;
  DO(lheap_open(name, flags, &heap, &error));
  CHECK(heap != NULL);
  return heap;
}

static lheap_vmo *allocated(lheap *heap, uint64_t byte_count) {
  lheap_vmo *vmo = NULL;
  DO(lheap_allocate(heap, byte_count, NULL, &vmo, &error));
  CHECK(vmo != NULL);
  return vmo;
}

static void gone(lheap *heap) {
  for (int turn = 0; turn < 1000 && lheap_live_count(heap) > 0; turn++) {
    lheap_dispatch(heap);
    usleep(5000);
  }
  CHECK(lheap_live_count(heap) == 0);
}

/* --- Parts --- */

static void errors(void) {
  lheap *heap = (lheap *)1;
  lheap_error *error = NULL;
  CHECK(lheap_open("no-such-heap", 0, &heap, &error) == LHEAP_NOT_FOUND);
  CHECK(heap == (lheap *)1);
  CHECK(lheap_error_errno(error) == 0 || lheap_error_errno(error) == ENOENT);
  CHECK(strstr(lheap_error_operation(error), "no-such-heap") != NULL);
  CHECK(lheap_error_fix(error) != NULL && strstr(lheap_error_message(error), lheap_error_fix(error)) != NULL);
  lheap_error_free(error);
  lheap_error_free(NULL);
  CHECK(lheap_open("no-such-heap", 0, &heap, NULL) == LHEAP_NOT_FOUND);
  CHECK(lheap_connect("/nowhere/heap.sock", &heap, &error) == LHEAP_NOT_FOUND);
  CHECK(strcmp(lheap_error_path(error), "/nowhere/heap.sock") == 0);
  lheap_error_free(error);
  REFUSED(LHEAP_INVALID_ARGS, lheap_open("memfd", 1u << 31, &heap, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_open("memfd", 0, NULL, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_open_first_of(NULL, 0, 0, &heap, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_open_first_of((const char *[]){"memfd", "system"}, 2, 0, &heap, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_open_first_of((const char *[]){"system", NULL}, 2, 0, &heap, &error));
  CHECK(strchr(lheap_version(), '.') != NULL);
}

static void list(const char *name) {
  lheap_list *list = NULL;
  bool found = false;
  DO(lheap_list_read(&list, &error));
  for (size_t index = 0; index < lheap_list_count(list); index++) {
    const lheap_entry *entry = lheap_list_at(list, index);
    CHECK(entry->size == sizeof *entry);
    CHECK(strncmp(entry->path, "/dev/dma_heap/", 14) == 0 && strcmp(entry->path + 14, entry->name) == 0);
    CHECK(strlen(entry->role) > 0);
    CHECK(entry->free <= entry->capacity);
    if (strcmp(entry->name, name) == 0) {
      found = true;
      CHECK(entry->refusal == NULL);
    }
  }
  char path[512];
  snprintf(path, sizeof path, "/dev/dma_heap/%s", name);
  CHECK(found == (access(path, F_OK) == 0));
  CHECK(lheap_list_at(list, lheap_list_count(list)) == NULL);
  lheap_list_free(list);
  lheap_list_free(NULL);
}

static void properties(lheap *heap) {
  lheap_properties properties = {.size = sizeof properties};
  DO(lheap_get_properties(heap, &properties, &error));
  CHECK(properties.size == sizeof properties);
  CHECK(properties.cpu_supported && !properties.need_clear);
  /* A caller that knows less of it. */
  memset(&properties, 0xff, sizeof properties);
  properties.size = offsetof(lheap_properties, ram_supported);
  DO(lheap_get_properties(heap, &properties, &error));
  CHECK(*(unsigned char *)&properties.cpu_supported == 1 && *(unsigned char *)&properties.ram_supported == 0xff);
  properties.size = 0;
  REFUSED(LHEAP_INVALID_ARGS, lheap_get_properties(heap, &properties, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_get_properties(heap, NULL, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_get_properties(NULL, &properties, &error));
}

static void handles(lheap *heap, const char *name) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  lheap_vmo *vmo = allocated(heap, 3 * page - 1), *copy = NULL, *slice = NULL, *none = (lheap_vmo *)1;
  CHECK(lheap_live_count(heap) == 1);
  CHECK(lheap_vmo_byte_count(vmo) == 3 * page && lheap_vmo_offset(vmo) == 0);
  CHECK(is_open(lheap_vmo_lend_fd(vmo)) && (fcntl(lheap_vmo_lend_fd(vmo), F_GETFD) & FD_CLOEXEC));
  CHECK(lheap_vmo_heap_name(vmo) != NULL);
  if (name != NULL) CHECK(strcmp(lheap_vmo_heap_name(vmo), name) == 0);
  DO(lheap_vmo_duplicate(vmo, &copy, &error));
  DO(lheap_vmo_slice(vmo, page, page, &slice, &error));
  CHECK(lheap_vmo_offset(slice) == page && lheap_vmo_byte_count(slice) == page);
  CHECK(lheap_vmo_kind(slice) == lheap_vmo_kind(vmo));
  REFUSED(LHEAP_INVALID_ARGS, lheap_vmo_slice(vmo, 1, page, &none, &error));
  REFUSED(LHEAP_OUT_OF_RANGE, lheap_vmo_slice(vmo, page, 3 * page, &none, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_vmo_slice(NULL, page, page, &none, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_vmo_duplicate(vmo, NULL, &error));
  CHECK(none == (lheap_vmo *)1);

  lheap_buffer_info info = {.size = sizeof info}, other = {.size = sizeof other};
  DO(lheap_fd_info(lheap_vmo_lend_fd(vmo), &info, &error));
  DO(lheap_fd_info(lheap_vmo_lend_fd(slice), &other, &error));
  struct stat status;
  CHECK(fstat(lheap_vmo_lend_fd(vmo), &status) == 0);
  CHECK(info.device == status.st_dev && info.inode == status.st_ino && info.inode == other.inode);
  CHECK(info.byte_count == 3 * page && info.kind == lheap_vmo_kind(vmo));
  if (info.kind == LHEAP_DMA_BUF) {
    CHECK(info.reference_count >= 4 && strlen(info.exporter) > 0);
    DO(lheap_vmo_set_name(vmo, "a name", &error));
    DO(lheap_fd_info(lheap_vmo_lend_fd(copy), &info, &error));
    CHECK(strcmp(info.name, "a name") == 0);
    REFUSED(LHEAP_OUT_OF_RANGE, lheap_vmo_set_name(vmo, "a name of more than thirty-one bytes", &error));
  } else {
    CHECK(info.reference_count == -1 && info.exporter[0] == 0);
    REFUSED(LHEAP_NOT_SUPPORTED, lheap_vmo_set_name(vmo, "a name", &error));
  }
  REFUSED(LHEAP_INVALID_ARGS, lheap_vmo_set_name(vmo, NULL, &error));

  /* What comes from elsewhere. */
  int fd = dup(lheap_vmo_lend_fd(vmo));
  lheap_vmo *adopted = NULL;
  DO(lheap_vmo_adopt_take(fd, &adopted, &error));
  CHECK(lheap_vmo_lend_fd(adopted) == fd && lheap_vmo_byte_count(adopted) == 3 * page);
  CHECK(lheap_vmo_heap_name(adopted) == NULL && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
  uint64_t collection = 0, index = 0, again = 0;
  DO(lheap_buffer_of(heap, vmo, &collection, &index, &error));
  DO(lheap_buffer_of(heap, adopted, NULL, &again, &error));
  CHECK(again == index);
  CHECK(lheap_vmo_release_fd(adopted) == fd && is_open(fd));
  close(fd);
  int ends[2];
  CHECK(pipe(ends) == 0);
  REFUSED(LHEAP_WRONG_TYPE, lheap_fd_info(ends[0], &info, &error));
  REFUSED(LHEAP_WRONG_TYPE, lheap_vmo_adopt_take(ends[0], &none, &error));
  CHECK(!is_open(ends[0]));
  close(ends[1]);
  REFUSED(LHEAP_BAD_HANDLE, lheap_vmo_adopt_take(-1, &none, &error));
  REFUSED(LHEAP_BAD_HANDLE, lheap_vmo_adopt_take(99999, &none, &error));
  REFUSED(LHEAP_BAD_HANDLE, lheap_fd_info(99999, &info, &error));
  int foreign = memfd_create("foreign", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  CHECK(foreign >= 0 && ftruncate(foreign, (off_t)page) == 0);
  DO(lheap_fd_info(foreign, &info, &error));
  CHECK(strcmp(info.name, "foreign") == 0 && info.byte_count == page && info.kind == LHEAP_MEMFD);
  CHECK(fcntl(foreign, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
  DO(lheap_vmo_adopt_take(foreign, &adopted, &error));
  REFUSED(LHEAP_NOT_FOUND, lheap_buffer_of(heap, adopted, &collection, &index, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_delete(NULL, adopted, &error));
  REFUSED(LHEAP_NOT_FOUND, lheap_delete(heap, adopted, &error));
  CHECK(!is_open(foreign));

  lheap_vmo_close(vmo);
  lheap_vmo_close(copy);
  CHECK(lheap_live_count(heap) == 1);
  lheap_vmo_close(slice);
  lheap_vmo_close(NULL);
  gone(heap);
}

/* The flags of this thread's calls of DMA_BUF_IOCTL_SYNC, in their order. */
static _Thread_local uint64_t syncs[8];
static _Thread_local size_t sync_count;

/* The library calls this one: a program's own name comes before the C library's. */
int ioctl(int fd, unsigned long request, ...) {
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (request == DMA_BUF_IOCTL_SYNC) syncs[sync_count++ % 8] = ((const struct dma_buf_sync *)argument)->flags;
  return (int)syscall(SYS_ioctl, fd, request, argument);
}

static void memory(lheap *heap) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  lheap_vmo *vmo = allocated(heap, 2 * page), *slice = NULL;
  lheap_mapping *mapping = NULL, *reading = NULL, *none = (lheap_mapping *)1;
  DO(lheap_map(vmo, LHEAP_READ_WRITE, &mapping, &error));
  CHECK(lheap_mapping_byte_count(mapping) == 2 * page);
  sync_count = 0;
  DO(lheap_mapping_begin(mapping, LHEAP_WRITE, &error));
  unsigned char *bytes = lheap_mapping_data(mapping);
  for (size_t index = 0; index < 2 * page; index++) CHECK(bytes[index] == 0);
  memset(bytes + page, 0x5a, page);
  DO(lheap_mapping_end(mapping, LHEAP_WRITE, &error));
  DO(lheap_vmo_slice(vmo, page, page, &slice, &error));
  DO(lheap_map(slice, LHEAP_READ, &reading, &error));
  CHECK(lheap_mapping_byte_count(reading) == page);
  DO(lheap_mapping_begin(reading, LHEAP_READ, &error));
  CHECK(((unsigned char *)lheap_mapping_data(reading))[0] == 0x5a);
  DO(lheap_mapping_end(reading, LHEAP_READ, &error));
  /* What a machine without coherent devices needs, and this one does not show. A memfd has no device. */
  const uint64_t brackets[] = {DMA_BUF_SYNC_RW | DMA_BUF_SYNC_START, DMA_BUF_SYNC_RW | DMA_BUF_SYNC_END,
                               DMA_BUF_SYNC_READ | DMA_BUF_SYNC_START, DMA_BUF_SYNC_READ | DMA_BUF_SYNC_END};
  CHECK(sync_count == (lheap_vmo_kind(vmo) == LHEAP_DMA_BUF ? 4 : 0));
  CHECK(sync_count == 0 || memcmp(syncs, brackets, sizeof brackets) == 0);
  REFUSED(LHEAP_INVALID_ARGS, lheap_mapping_begin(reading, LHEAP_READ_WRITE, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_mapping_begin(mapping, 8, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_mapping_end(NULL, LHEAP_READ, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_map(vmo, 0, &none, &error));
  CHECK(none == (lheap_mapping *)1);
  lheap_vmo_close(slice);
  lheap_vmo_close(vmo);
  lheap_unmap(reading);
  /* A mapping is a child. */
  usleep(20000);
  lheap_dispatch(heap);
  CHECK(lheap_live_count(heap) == 1 && bytes[page] == 0x5a);
  lheap_unmap(mapping);
  lheap_unmap(NULL);
  gone(heap);

  lheap *opaque = opened("opaque", LHEAP_OWN_LOOP);
  vmo = allocated(opaque, page);
  CHECK(lheap_vmo_kind(vmo) == LHEAP_OPAQUE);
  REFUSED(LHEAP_NOT_SUPPORTED, lheap_map(vmo, LHEAP_READ, &none, &error));
  DO(lheap_delete(opaque, vmo, &error));
  lheap_close(opaque);
}

static atomic_int cleanups;
static _Atomic pthread_t cleaner;

static void clean(void *data) {
  cleaner = pthread_self();
  atomic_fetch_add(&cleanups, *(int *)data);
}

static void *close_later(void *fd) {
  usleep(100000);
  close(*(int *)fd);
  return NULL;
}

static void lifetimes(lheap *heap, bool own_loop) {
  int one = 1, tracker = -1, second = -1, fd = -1;
  lheap_settings settings = {
      .size = sizeof settings, .flags = LHEAP_NAMED, .collection = 7, .index = UINT64_MAX, .cleanup = clean, .data = &one};
  lheap_vmo *vmo = NULL, *none = (lheap_vmo *)1;
  cleanups = 0;
  DO(lheap_allocate(heap, 4096, &settings, &vmo, &error));
  REFUSED(LHEAP_ALREADY_EXISTS, lheap_allocate(heap, 4096, &settings, &none, &error));
  CHECK(none == (lheap_vmo *)1 && cleanups == 0);
  uint64_t collection = 0, index = 0;
  DO(lheap_buffer_of(heap, vmo, &collection, &index, &error));
  CHECK(collection == 7 && index == UINT64_MAX);
  DO(lheap_track(heap, 7, 0, &tracker, &error));
  DO(lheap_track(heap, 7, 1, &second, &error));
  CHECK(hung_up(second, 5000) && !hung_up(tracker, 0));
  close(second);
  /* The last holder is a descriptor that nobody here knows of. */
  fd = dup(lheap_vmo_lend_fd(vmo));
  lheap_vmo_close(vmo);
  usleep(20000);
  lheap_dispatch(heap);
  CHECK(cleanups == 0 && !hung_up(tracker, 0));
  close(fd);
  if (own_loop) {
    /* Nothing happens without the caller, who is called. */
    struct pollfd wait = {.fd = lheap_event_fd(heap), .events = POLLIN};
    for (int turn = 0; turn < 1000 && cleanups == 0; turn++) {
      CHECK(poll(&wait, 1, 5000) == 1);
      lheap_dispatch(heap);
    }
    CHECK(cleanups == 1 && pthread_equal(cleaner, pthread_self()));
  }
  CHECK(hung_up(tracker, 5000));
  for (int turn = 0; turn < 1000 && cleanups == 0; turn++) usleep(5000);
  CHECK(cleanups == 1);
  close(tracker);
  gone(heap);

  /* A deletion waits for the others, and runs the clean-up. */
  DO(lheap_allocate(heap, 4096, &settings, &vmo, &error));
  fd = dup(lheap_vmo_lend_fd(vmo));
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, close_later, &fd) == 0);
  DO(lheap_delete(heap, vmo, &error));
  CHECK(!is_open(fd) && cleanups == 2 && lheap_live_count(heap) == 0);
  pthread_join(thread, NULL);

  /* A child process. */
  DO(lheap_allocate(heap, 4096, &settings, &vmo, &error));
  pid_t child = fork();
  if (child == 0) {
    usleep(100000);
    _exit(0);
  }
  DO(lheap_delete(heap, vmo, &error));
  CHECK(waitpid(child, NULL, WNOHANG) == child || waitpid(child, NULL, 0) == child);
  CHECK(cleanups == 3);

  settings.cleanup = NULL;
  DO(lheap_allocate_fd(heap, 4096, &settings, &fd, &error));
  CHECK(is_open(fd) && (fcntl(fd, F_GETFD) & FD_CLOEXEC) && lheap_live_count(heap) == 1);
  close(fd);
  gone(heap);

  REFUSED(LHEAP_INVALID_ARGS, lheap_allocate(heap, 0, NULL, &none, &error));
  REFUSED(LHEAP_OUT_OF_RANGE, lheap_allocate(heap, UINT64_MAX, NULL, &none, &error));
  REFUSED(LHEAP_NO_MEMORY, lheap_allocate(heap, UINT64_C(1) << 50, NULL, &none, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_allocate(NULL, 4096, NULL, &none, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_allocate(heap, 4096, NULL, NULL, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_delete(heap, NULL, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_track(heap, 7, 0, NULL, &error));
  settings.flags = 1u << 30;
  REFUSED(LHEAP_INVALID_ARGS, lheap_allocate(heap, 4096, &settings, &none, &error));
  settings.size = 0;
  REFUSED(LHEAP_INVALID_ARGS, lheap_allocate(heap, 4096, &settings, &none, &error));
}

static void opening(const char *name) {
  lheap *heap = NULL;
  DO(lheap_open_first_of((const char *[]){name}, 1, 0, &heap, &error));
  lheap_close(heap);
  REFUSED(LHEAP_NOT_FOUND, lheap_open_first_of((const char *[]){"absent", "missing"}, 2, 0, &heap, &error));
  if (strcmp(name, "memfd") != 0 && strcmp(name, "opaque") != 0) {
    DO(lheap_open_first_of((const char *[]){"absent", name}, 2, 0, &heap, &error));
    lheap_vmo_close(allocated(heap, 4096));
    lheap_close(heap);
  }
  REFUSED(LHEAP_INVALID_ARGS, lheap_open("caf\xe9", 0, &heap, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_connect("/run/caf\xe9", &heap, &error));
}

static void contiguous(lheap *heap, const char *name) {
  int one = 1;
  lheap_settings settings = {.size = sizeof settings, .flags = LHEAP_CONTIGUOUS, .cleanup = clean, .data = &one};
  lheap_vmo *vmo = NULL;
  bool has_none = strcmp(name, "memfd") == 0 || strcmp(name, "udmabuf") == 0;
  bool is_refused = has_none || strcmp(name, "system") == 0;
  cleanups = 0;
  gone(heap);
  if (is_refused) {
    REFUSED(LHEAP_NOT_SUPPORTED, lheap_allocate(heap, 4096, &settings, &vmo, &error));
    if (has_none) CHECK(lheap_live_count(heap) == 0);
  } else {
    DO(lheap_allocate(heap, 4096, &settings, &vmo, &error));
    DO(lheap_delete(heap, vmo, &error));
  }
  gone(heap);
  CHECK(cleanups == !is_refused);
}

static void fences(lheap *heap) {
  lheap_vmo *vmo = allocated(heap, 4096);
  int fence = -1, both = -1, ends[2];
  if (lheap_vmo_kind(vmo) == LHEAP_DMA_BUF) {
    DO(lheap_vmo_export_fence(vmo, LHEAP_READ, &fence, &error));
    DO(lheap_fence_wait(fence, 0, &error));
    DO(lheap_fence_merge(fence, fence, &both, &error));
    DO(lheap_fence_wait(both, -1, &error));
    DO(lheap_vmo_import_fence(vmo, both, LHEAP_WRITE, &error));
    close(fence);
    close(both);
  } else {
    REFUSED(LHEAP_NOT_SUPPORTED, lheap_vmo_export_fence(vmo, LHEAP_READ, &fence, &error));
  }
  CHECK(pipe(ends) == 0);
  REFUSED(LHEAP_WRONG_TYPE, lheap_fence_wait(ends[0], 0, &error));
  REFUSED(LHEAP_WRONG_TYPE, lheap_fence_merge(ends[0], ends[1], &both, &error));
  REFUSED(LHEAP_WRONG_TYPE, lheap_vmo_import_fence(vmo, ends[0], LHEAP_READ, &error));
  REFUSED(LHEAP_BAD_HANDLE, lheap_fence_wait(99999, 0, &error));
  REFUSED(LHEAP_INVALID_ARGS, lheap_vmo_export_fence(vmo, 9, &fence, &error));
  CHECK(is_open(ends[0]) && is_open(ends[1]));
  close(ends[0]);
  close(ends[1]);
  DO(lheap_delete(heap, vmo, &error));
}

/* Buffers outlive their heap. */
static void closing(const char *name, unsigned flags) {
  int one = 1;
  lheap_settings settings = {.size = sizeof settings, .cleanup = clean, .data = &one};
  lheap *heap = opened(name, flags);
  int fd = -1;
  cleanups = 0;
  DO(lheap_allocate_fd(heap, 4096, &settings, &fd, &error));
  lheap_close(heap);
  void *bytes = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
  CHECK(bytes != MAP_FAILED && cleanups == 0);
  close(fd);
  munmap(bytes, 4096);
  for (int turn = 0; turn < 1000 && cleanups == 0; turn++) usleep(5000);
  CHECK(cleanups == 1);
}

/* A child is told of its own descriptors, not of its parent's. */
static void forked(void) {
  int ends[2];
  lheap_buffer_info info = {.size = sizeof info};
  CHECK(pipe(ends) == 0);
  REFUSED(LHEAP_WRONG_TYPE, lheap_fd_info(ends[0], &info, &error));
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    /* Not by an end of its own, as in threads.c. */
    if (lheap_fd_info(fcntl(ends[0], F_DUPFD, 500), &info, NULL) == LHEAP_WRONG_TYPE) execlp("true", "true", NULL);
    _exit(1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(ends[0]);
  close(ends[1]);
}

/* The vmo is given away, and its service cannot give it back. */
static void service_ends(lheap *heap, pid_t service) {
  lheap_vmo *vmo = allocated(heap, 4096), *copy = NULL;
  DO(lheap_vmo_duplicate(vmo, &copy, &error));
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    usleep(200000);
    kill(service, SIGKILL);
    _exit(0);
  }
  REFUSED(LHEAP_PEER_CLOSED, lheap_delete(heap, vmo, &error));
  lheap_vmo_close(copy);
  CHECK(waitpid(child, NULL, 0) == child);
}

/* A closed connection has left nothing, also where its thread has not run yet. */
static void connecting(const char *socket) {
  lheap *heap = NULL;
  int before = descriptors();
  for (int turn = 0; turn < 100; turn++) {
    DO(lheap_connect(socket, &heap, &error));
    lheap_close(heap);
    CHECK(descriptors() <= before);
  }
}

/* As many buffers as services.sh has heapd give to a connection, and one more. */
static void quota(const char *socket) {
  lheap *heap = NULL;
  lheap_vmo *vmos[256], *none = NULL;
  DO(lheap_connect(socket, &heap, &error));
  for (int index = 0; index < 256; index++) vmos[index] = allocated(heap, 4096);
  REFUSED(LHEAP_NO_RESOURCES, lheap_allocate(heap, 4096, NULL, &none, &error));
  for (int index = 0; index < 256; index++) lheap_vmo_close(vmos[index]);
  gone(heap);
  lheap_close(heap);
}

static void run(const char *name, const char *what, lheap *heap, bool own_loop, bool is_service) {
  printf("%s: %s\n", name, what);
  part = what;
  properties(heap);
  handles(heap, is_service ? NULL : name);
  memory(heap);
  lifetimes(heap, own_loop);
  if (!is_service) contiguous(heap, name);
  fences(heap);
}

int main(int count, char **words) {
  if (count < 2) return 64;
  const char *name = words[1];
  int before = descriptors();
  part = "errors";
  errors();
  part = "list";
  list(name);
  CHECK(threads() == 1);

  lheap *heap = opened(name, LHEAP_OWN_LOOP);
  CHECK(lheap_event_fd(heap) >= 0);
  run(name, "in the caller's loop", heap, true, false);
  CHECK(threads() == 1);
  lheap_close(heap);

  heap = opened(name, 0);
  CHECK(lheap_event_fd(heap) == -1);
  run(name, "with a thread", heap, false, false);
  lheap_close(heap);
  lheap_close(NULL);

  part = "forked";
  forked();
  part = "closing";
  closing(name, LHEAP_OWN_LOOP);
  closing(name, 0);
  part = "opening";
  opening(name);
  DO(lheap_open(NULL, 0, &heap, &error));
  lheap_close(heap);

  if (count > 2) {
    part = "connecting";
    connecting(words[2]);
    part = "a quota";
    quota(words[2]);
    DO(lheap_connect(words[2], &heap, &error));
    run(name, "of a service", heap, false, true);
    if (count > 3) service_ends(heap, (pid_t)atoi(words[3]));
    lheap_close(heap);
  }

  /* Files that are kept from one buffer to the next close a second after the last; the thread of heaps that have one keeps two,
   * and lheap_fd_info() a directory of /proc. */
  part = "descriptors";
  int left = 0;
  for (int turn = 0; turn < 300 && (left = descriptors()) > before + 3; turn++) usleep(10000);
  printf("%s: %d descriptors, %d before\n", name, left, before);
  if (left > before + 3) system("ls -l /proc/$PPID/fd >&2");
  CHECK(left <= before + 3);
  return 0;
}
