/* threads.c HEAP ROUNDS: what linuxheaps.h promises of threads and of fork(2). Several threads use one heap, and one handle, mapping,
 * list and error; a forked child uses and frees what it has, with and without other threads at work, and becomes `threads HEAP`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linuxheaps.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "heaps.h"

/* A call that has to work. */
#define DO(call) \
  do { \
    lheap_error *error = NULL; \
    if ((call) != LHEAP_OK) { \
      fprintf(stderr, "line %d: %s\n", __LINE__, error ? lheap_error_message(error) : #call); \
      _exit(1); \
    } \
  } while (0)

/* LOOKS of 5 ms are a minute, which only a failure takes. */
enum { THREADS = 4, LOOKS = 12000 };

static size_t page;
static const char *program, *heap_name;
static int rounds;
static atomic_int cleanups, allocations;
static atomic_bool stops;

static void clean(void *data) { atomic_fetch_add((atomic_int *)data, 1); }

static lheap *opened(const char *name, unsigned flags) {
  lheap *heap = NULL;
  DO(open_heap(name, flags, &heap, &error));
  return heap;
}

static lheap_vmo *allocated(lheap *heap, uint64_t collection, uint64_t index) {
  lheap_settings settings = {.size = sizeof settings, .flags = LHEAP_NAMED, .collection = collection, .index = index};
  settings.cleanup = clean;
  settings.data = &cleanups;
  lheap_vmo *vmo = NULL;
  DO(lheap_allocate(heap, 2 * page, &settings, &vmo, &error));
  atomic_fetch_add(&allocations, 1);
  return vmo;
}

static void write_byte(lheap_mapping *mapping, size_t offset, unsigned char byte) {
  DO(lheap_mapping_begin(mapping, LHEAP_READ_WRITE, &error));
  ((unsigned char *)lheap_mapping_data(mapping))[offset] = byte;
  DO(lheap_mapping_end(mapping, LHEAP_READ_WRITE, &error));
}

static unsigned char read_byte(lheap_mapping *mapping, size_t offset) {
  DO(lheap_mapping_begin(mapping, LHEAP_READ, &error));
  unsigned char byte = ((unsigned char *)lheap_mapping_data(mapping))[offset];
  DO(lheap_mapping_end(mapping, LHEAP_READ, &error));
  return byte;
}

/* All buffers have ended, each once. */
static void gone(lheap *heap) {
  for (int look = 0; look < LOOKS && (lheap_live_count(heap) > 0 || cleanups < allocations); look++) {
    lheap_dispatch(heap);
    usleep(5000);
  }
  CHECK(lheap_live_count(heap) == 0 && cleanups == allocations);
}

/* --- One heap --- */

struct worker {
  pthread_t thread;
  lheap *heap;
  uint64_t collection;
};

/* A buffer's life, whose last holder goes in one of four ways. */
static void live(const struct worker *worker, int round) {
  lheap *heap = worker->heap;
  lheap_vmo *vmo = allocated(heap, worker->collection, (uint64_t)round), *slice = NULL, *copy = NULL;
  lheap_mapping *whole = NULL, *part = NULL;
  DO(lheap_vmo_slice(vmo, page, page, &slice, &error));
  DO(lheap_vmo_duplicate(slice, &copy, &error));
  DO(lheap_map(vmo, LHEAP_READ, &whole, &error));
  DO(lheap_map(copy, LHEAP_READ_WRITE, &part, &error));
  CHECK(read_byte(whole, page) == 0);
  unsigned char byte = (unsigned char)(worker->collection * 31 + (uint64_t)round + 1);
  write_byte(part, 0, byte);
  CHECK(read_byte(whole, page) == byte);
  uint64_t collection = 0, index = 0;
  DO(lheap_buffer_of(heap, slice, &collection, &index, &error));
  CHECK(collection == worker->collection && index == (uint64_t)round);
  lheap_error *error = NULL;
  CHECK(lheap_vmo_slice(vmo, 0, (uint64_t)(round + 3) * page, &slice, &error) == LHEAP_OUT_OF_RANGE);
  char words[64];
  snprintf(words, sizeof words, "%zu bytes", (size_t)(round + 3) * page);
  CHECK(strstr(lheap_error_message(error), words));
  lheap_error_free(error);
  int tracker = -1;
  if (round % 8 == 0) DO(lheap_track(heap, worker->collection, 0, &tracker, &error));
  lheap_unmap(whole);
  lheap_vmo_close(slice);
  lheap_unmap(part);
  lheap_vmo_close(copy);
  switch (round % 4) {
  case 0: DO(lheap_delete(heap, vmo, &error)); break;
  case 1: lheap_vmo_close(vmo); break;
  case 2: close(lheap_vmo_release_fd(vmo)); break;
  case 3:
    DO(lheap_vmo_adopt_take(lheap_vmo_release_fd(vmo), &copy, &error));
    lheap_vmo_close(copy);
  }
  if (tracker < 0) return;
  /* It was the collection's last buffer. */
  struct pollfd wait = {.fd = tracker};
  CHECK(poll(&wait, 1, LOOKS * 5) == 1);
  close(tracker);
}

static void *work(void *data) {
  for (int round = 0; round < rounds; round++) live(data, round);
  return NULL;
}

/* What a program's loop does, on two threads at once. */
static void *loop(void *data) {
  lheap *heap = data;
  lheap_properties properties = {.size = sizeof properties};
  while (!stops) {
    struct pollfd wait = {.fd = lheap_event_fd(heap), .events = POLLIN};
    if (wait.fd < 0) usleep(1000);
    else poll(&wait, 1, 5);
    lheap_dispatch(heap);
    CHECK(lheap_live_count(heap) <= (size_t)allocations + THREADS);
    DO(lheap_get_properties(heap, &properties, &error));
  }
  return NULL;
}

/* A heap with all that goes on at once. */
struct crowd {
  struct worker workers[THREADS];
  pthread_t loops[2];
};

static void start(struct crowd *crowd, lheap *heap) {
  stops = false;
  for (int index = 0; index < 2; index++) CHECK(pthread_create(&crowd->loops[index], NULL, loop, heap) == 0);
  for (int index = 0; index < THREADS; index++) {
    struct worker *worker = &crowd->workers[index];
    *worker = (struct worker){.heap = heap, .collection = (uint64_t)index + 1};
    CHECK(pthread_create(&worker->thread, NULL, work, worker) == 0);
  }
}

static void join(struct crowd *crowd) {
  for (int index = 0; index < THREADS; index++) pthread_join(crowd->workers[index].thread, NULL);
  stops = true;
  for (int index = 0; index < 2; index++) pthread_join(crowd->loops[index], NULL);
}

static void one_heap(lheap *heap) {
  struct crowd crowd;
  start(&crowd, heap);
  join(&crowd);
  gone(heap);
}

/* --- One of each other object --- */

static struct {
  lheap *heap;
  lheap_vmo *vmo;
  lheap_mapping *mapping;
  lheap_list *list;
  lheap_error *error;
  const char *message;
} shared;

static void *use(void *data) {
  size_t own = *(const size_t *)data;
  lheap_mapping *mapping = NULL;
  for (int round = 0; round < rounds; round++) {
    lheap_vmo *copy = NULL;
    unsigned char byte = (unsigned char)(round + 1);
    DO(round % 2 ? lheap_vmo_duplicate(shared.vmo, &copy, &error) : lheap_vmo_slice(shared.vmo, 0, page, &copy, &error));
    DO(lheap_map(shared.vmo, LHEAP_READ, &mapping, &error));
    write_byte(shared.mapping, own, byte);
    CHECK(read_byte(mapping, own) == byte);
    lheap_unmap(mapping);
    lheap_vmo_close(copy);

    uint64_t collection = 0, index = 0;
    DO(lheap_buffer_of(shared.heap, shared.vmo, &collection, &index, &error));
    CHECK(collection == 9 && index == 0);
    lheap_buffer_info info = {.size = sizeof info};
    DO(lheap_fd_info(lheap_vmo_lend_fd(shared.vmo), &info, &error));
    CHECK(info.byte_count == 2 * page && lheap_vmo_byte_count(shared.vmo) == 2 * page && lheap_vmo_offset(shared.vmo) == 0);
    CHECK(info.kind == lheap_vmo_kind(shared.vmo) && *lheap_vmo_heap_name(shared.vmo));
    if (info.kind == LHEAP_DMA_BUF) {
      int fence = -1;
      DO(lheap_vmo_set_name(shared.vmo, "shared", &error));
      DO(lheap_vmo_export_fence(shared.vmo, LHEAP_READ_WRITE, &fence, &error));
      DO(lheap_fence_wait(fence, -1, &error));
      DO(lheap_vmo_import_fence(shared.vmo, fence, LHEAP_READ, &error));
      close(fence);
    }
    CHECK(strcmp(lheap_error_message(shared.error), shared.message) == 0);
    for (size_t entry = 0; entry < lheap_list_count(shared.list); entry++) CHECK(*lheap_list_at(shared.list, entry)->name);
  }
  return NULL;
}

static void one_object(lheap *heap) {
  pthread_t threads[THREADS];
  size_t numbers[THREADS];
  shared.heap = heap;
  shared.vmo = allocated(heap, 9, 0);
  DO(lheap_map(shared.vmo, LHEAP_READ_WRITE, &shared.mapping, &error));
  DO(lheap_list_read(&shared.list, &error));
  CHECK(lheap_open("no-such-heap", 0, &heap, &shared.error) == LHEAP_NOT_FOUND);
  shared.message = lheap_error_message(shared.error);
  for (size_t index = 0; index < THREADS; index++) {
    numbers[index] = index;
    CHECK(pthread_create(&threads[index], NULL, use, &numbers[index]) == 0);
  }
  for (size_t index = 0; index < THREADS; index++) {
    pthread_join(threads[index], NULL);
    CHECK(read_byte(shared.mapping, index) == (unsigned char)rounds);
  }
  lheap_error_free(shared.error);
  lheap_list_free(shared.list);
  lheap_unmap(shared.mapping);
  CHECK(cleanups == allocations - 1);
  DO(lheap_delete(shared.heap, shared.vmo, &error));
  gone(shared.heap);
}

/* --- fork(2) --- */

/* A child that hangs is a failure. */
static void succeeds(pid_t child) {
  int status = 0;
  pid_t ended = 0;
  for (int look = 0; look < LOOKS && (ended = waitpid(child, &status, WNOHANG)) == 0; look++) usleep(5000);
  if (ended == 0) kill(child, SIGKILL);
  CHECK(ended == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* What a child may do. */
static void use_and_free(lheap *heap, lheap_vmo *vmo, lheap_mapping *mapping) {
  CHECK(read_byte(mapping, 0) == 1);
  write_byte(mapping, 1, 2);
  unsigned char *bytes = mmap(NULL, page, PROT_READ, MAP_SHARED, lheap_vmo_lend_fd(vmo), 0);
  CHECK(bytes != MAP_FAILED && bytes[1] == 2);
  lheap_buffer_info info = {.size = sizeof info};
  lheap_vmo *copy = NULL, *adopted = NULL;
  DO(lheap_fd_info(lheap_vmo_lend_fd(vmo), &info, &error));
  DO(lheap_vmo_duplicate(vmo, &copy, &error));
  DO(lheap_vmo_adopt_take(lheap_vmo_release_fd(copy), &adopted, &error));
  CHECK(info.byte_count == lheap_vmo_byte_count(adopted) && *lheap_vmo_heap_name(vmo));
  lheap_vmo *none = NULL;
  int fd = -1;
  CHECK(lheap_allocate(heap, page, NULL, &none, NULL) == LHEAP_BAD_STATE && !none);
  CHECK(lheap_track(heap, 10, 0, &fd, NULL) == LHEAP_BAD_STATE && fd == -1);
  lheap *another = NULL;
  CHECK(lheap_open("memfd", 0, &another, NULL) == LHEAP_BAD_STATE && !another);
  CHECK(lheap_open("memfd", LHEAP_OWN_LOOP, &another, NULL) == LHEAP_BAD_STATE && !another);
  CHECK(lheap_connect(NULL, &another, NULL) == LHEAP_BAD_STATE && !another);
  int deleted = lheap_vmo_lend_fd(adopted);
  CHECK(lheap_delete(heap, adopted, NULL) == LHEAP_BAD_STATE);
  CHECK(fcntl(deleted, F_GETFD) == -1);
  lheap_unmap(mapping);
  lheap_vmo_close(vmo);
  CHECK(bytes[0] == 1);
  munmap(bytes, page);
  lheap_close(heap);
}

/* A child, which a failing parent takes along. */
static pid_t forked(void) {
  pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return child;
}

/* Not by an end of its own, at which a checker of leaks misses what the parent's other threads know. */
static void become_another(void) {
  execl(program, program, heap_name, NULL);
  _exit(1);
}

/* A child that frees all that it has ends nothing of its parent's. */
static void fork_one(lheap *heap, bool is_busy) {
  lheap_vmo *vmo = allocated(heap, 10, 0);
  lheap_mapping *mapping = NULL;
  DO(lheap_map(vmo, LHEAP_READ_WRITE, &mapping, &error));
  write_byte(mapping, 0, 1);
  int before = cleanups;
  pid_t child = forked();
  if (child == 0) {
    use_and_free(heap, vmo, mapping);
    become_another();
  }
  succeeds(child);
  CHECK(read_byte(mapping, 1) == 2);
  if (!is_busy) CHECK(cleanups == before && lheap_live_count(heap) == 1);
  lheap_unmap(mapping);
  DO(lheap_delete(heap, vmo, &error));
}

/* A child holds what its parent lets go of. */
static void fork_holder(lheap *heap) {
  lheap_vmo *vmo = allocated(heap, 11, 0);
  int ends[2], before = cleanups;
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    char byte;
    close(ends[1]);
    CHECK(read(ends[0], &byte, 1) == 0);
    lheap_vmo_close(vmo);
    become_another();
  }
  lheap_vmo_close(vmo);
  usleep(50000);
  lheap_dispatch(heap);
  CHECK(cleanups == before && lheap_live_count(heap) == 1);
  close(ends[0]);
  close(ends[1]);
  succeeds(child);
  gone(heap);
}

/* A child has a copy of each descriptor of the heap's, and of a tracker it keeps nothing. */
static void fork_tracked(lheap *heap) {
  lheap_vmo *vmo = allocated(heap, 13, 0);
  int tracker, ends[2];
  DO(lheap_track(heap, 13, 0, &tracker, &error));
  CHECK(pipe(ends) == 0);
  pid_t child = forked();
  if (child == 0) {
    char byte;
    close(ends[1]);
    lheap_vmo_close(vmo);
    CHECK(read(ends[0], &byte, 1) == 0);
    become_another();
  }
  lheap_vmo_close(vmo);
  gone(heap);
  struct pollfd wait = {.fd = tracker, .events = POLLIN};
  CHECK(poll(&wait, 1, LOOKS * 5) == 1 && (wait.revents & POLLHUP) != 0);
  close(tracker);
  close(ends[0]);
  close(ends[1]);
  succeeds(child);
}

static void forks(lheap *heap) {
  struct crowd crowd;
  fork_one(heap, false);
  gone(heap);
  fork_holder(heap);
  /* A dma-buf does not end while the child has the heap's descriptor of it. */
  if (strcmp(heap_name, "memfd") == 0) fork_tracked(heap);
  start(&crowd, heap);
  for (int round = 0; round < rounds; round++) fork_one(heap, true);
  join(&crowd);
  gone(heap);
}

#include "descriptors.h"

int main(int count, char **words) {
  if (count < 2) return 64;
  page = (size_t)sysconf(_SC_PAGESIZE);
  program = words[0];
  heap_name = words[1];
  if (count == 2) {
    lheap *heap = opened(heap_name, 0);
    DO(lheap_delete(heap, allocated(heap, 12, 0), &error));
    lheap_close(heap);
    return 0;
  }
  rounds = atoi(words[2]);
  int before = descriptors(), left = 0;
  for (int way = 0; way < (is_service(heap_name) ? 1 : 2); way++) {
    lheap *heap = opened(heap_name, way == 0 ? 0 : LHEAP_OWN_LOOP);
    one_heap(heap);
    one_object(heap);
    forks(heap);
    lheap_close(heap);
  }
  for (int look = 0; look < LOOKS && (left = descriptors()) > before + 3; look++) usleep(5000);
  CHECK(left <= before + 3);
  printf("%s: threads and forks pass, %d buffers\n", heap_name, (int)allocations);
  return 0;
}
