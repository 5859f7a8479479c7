/* fuzz.c HEAP CALLS SEED: random calls of both headers in random order, with what they take and with what they do not. HEAP is a heap's
 * name or a service's socket. A model knows which buffers have a child; at the end nothing is left. */
#define _GNU_SOURCE
#include <dmabufheap.h>
#include <linuxheaps.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heaps.h"

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf(stderr, "step %lu: line %d: %s\n", step, __LINE__, #condition); \
      abort(); \
    } \
  } while (0)

/* LOOKS of 5 ms are a minute, which only a failure takes. */
enum { MOST = 24, LOOKS = 12000 };

/* Steps find what they need in use, or not there: calls are counted that can be refused. */
static unsigned long step, calls;
static uint64_t state;

static uint64_t any(uint64_t bound) {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state % bound;
}

/* Of each buffer: what holds it here, and how often it ended. */
struct buffer {
  struct buffer *next;
  int children;
  atomic_int ends;
  bool cleans;
  /* Through which of the heaps that were opened one after another it was allocated. */
  unsigned long heap;
};
struct handle {
  lheap_vmo *vmo;
  struct buffer *buffer;
};
struct piece {
  lheap_mapping *mapping;
  struct buffer *buffer;
  bool writes;
};
struct loose {
  int fd;
  struct buffer *buffer;
};

static struct handle handles[MOST];
static struct piece pieces[MOST];
static struct loose loose[MOST];
static struct buffer *buffers;
static int trackers[4] = {-1, -1, -1, -1};
static size_t page;
static const char *heap_name;
static unsigned long heaps;
static BufferAllocator *allocator;

static void ended(void *data) {
  struct buffer *buffer = data;
  atomic_fetch_add(&buffer->ends, 1);
}

static lheap_error *error;

/* A refusal says why. */
static int result(int code) {
  calls++;
  CHECK((code == LHEAP_OK) == (error == NULL) && code <= 0);
  if (error != NULL) {
    CHECK(lheap_error_code(error) == code && strlen(lheap_error_message(error)) > 10);
    CHECK(lheap_error_errno(error) >= 0 && strlen(lheap_error_operation(error)) > 3 && strlen(lheap_error_cause(error)) > 3);
    const char *words[] = {lheap_error_path(error), lheap_error_fix(error)};
    for (int index = 0; index < 2; index++) CHECK(!words[index] || strstr(lheap_error_message(error), words[index]));
    lheap_error_free(error);
    error = NULL;
  }
  return code;
}

static void let_go(struct buffer *buffer) {
  CHECK(buffer->children > 0 && buffer->ends == 0);
  buffer->children--;
}

static uint64_t bytes(void) {
  switch (any(8)) {
  case 0: return any(3) * page - 1;
  case 1: return UINT64_MAX - any(2 * page);
  case 2: return UINT64_C(1) << any(64);
  default: return 1 + any(4 * page);
  }
}

/* Until the end: a clean-up may still come. */
static void keep(struct buffer *buffer) {
  buffer->next = buffers;
  buffers = buffer;
}

/* In place of one that is closed for it. */
static void keep_fd(int fd, struct buffer *buffer) {
  struct loose *place = &loose[any(MOST)];
  if (place->buffer) {
    let_go(place->buffer);
    close(place->fd);
  }
  *place = (struct loose){fd, buffer};
}

static void allocate(lheap *heap, struct handle *handle) {
  struct buffer *buffer = calloc(1, sizeof *buffer);
  buffer->heap = heaps;
  lheap_settings settings = {.size = sizeof settings, .cleanup = ended, .data = buffer};
  if (any(8) == 0) settings.flags = LHEAP_NAMED, settings.collection = any(3), settings.index = any(4);
  if (any(16) == 0) settings.flags |= LHEAP_CONTIGUOUS;
  if (any(64) == 0) settings.flags |= (unsigned)any(UINT32_MAX);
  if (any(64) == 0) settings.size = any(2 * sizeof settings);
  if (settings.size < sizeof settings) settings.size = any(2) * offsetof(lheap_settings, cleanup);
  lheap_vmo *vmo = NULL;
  buffer->cleans = settings.size >= sizeof settings;
  if (any(4) == 0) {
    int fd = -1;
    if (result(lheap_allocate_fd(heap, bytes(), &settings, &fd, &error)) == LHEAP_OK) {
      buffer->children = 1;
      keep(buffer);
      keep_fd(fd, buffer);
      return;
    }
    CHECK(fd == -1);
  } else if (result(lheap_allocate(heap, bytes(), &settings, &vmo, &error)) == LHEAP_OK) {
    buffer->children = 1;
    keep(buffer);
    *handle = (struct handle){vmo, buffer};
    return;
  }
  CHECK(vmo == NULL && buffer->ends == 0);
  free(buffer);
}

/* A descriptor or 0, or what stood against it. */
static int number(int result) {
  calls++;
  CHECK(result > -4096);
  return result;
}

/* By libdmabufheap's names, which tell nobody of a buffer's end. */
static void allocate_by_name(void) {
  const char *names[] = {heap_name, "memfd", "no-such-heap", NULL};
  BufferAllocator *here = any(16) ? allocator : NULL;
  const char *name = names[any(4)];
  unsigned flags = any(16) == 0;
  int fd = any(4) ? number(DmabufHeapAlloc(here, name, bytes(), flags, any(2) * page))
                  : number(DmabufHeapAllocSystem(here, any(2), bytes(), flags, 0));
  if (fd < 0) return;
  CHECK(here && !flags);
  struct buffer *buffer = calloc(1, sizeof *buffer);
  buffer->children = 1;
  keep(buffer);
  keep_fd(fd, buffer);
}

/* One random call, on random objects. */
static void turn(lheap *heap) {
  struct handle *handle = &handles[any(MOST)], *other = &handles[any(MOST)];
  struct piece *piece = &pieces[any(MOST)];
  struct loose *fd = &loose[any(MOST)];
  lheap_vmo *made = NULL;
  switch (any(26)) {
  case 0: case 1: case 2:
    if (!handle->vmo) allocate(heap, handle);
    break;
  case 3:
    if (handle->vmo) let_go(handle->buffer);
    lheap_vmo_close(handle->vmo);
    *handle = (struct handle){NULL, NULL};
    break;
  case 4:
    if (other->vmo) break;
    if (result(lheap_vmo_duplicate(handle->vmo, &made, &error)) == LHEAP_OK) {
      handle->buffer->children++;
      *other = (struct handle){made, handle->buffer};
    }
    break;
  case 5:
    if (other->vmo) break;
    if (result(lheap_vmo_slice(handle->vmo, any(2) ? any(4) * page : any(9999), any(2) ? page : bytes(), &made, &error)) == LHEAP_OK) {
      handle->buffer->children++;
      *other = (struct handle){made, handle->buffer};
    }
    break;
  case 6:
    if (piece->mapping) break;
    {
      int access = (int)any(5);
      if (result(lheap_map(handle->vmo, access, &piece->mapping, &error)) == LHEAP_OK) {
        handle->buffer->children++;
        piece->buffer = handle->buffer;
        piece->writes = access > 1;
      }
    }
    break;
  case 7:
    if (piece->mapping) let_go(piece->buffer);
    lheap_unmap(piece->mapping);
    *piece = (struct piece){NULL, NULL, false};
    break;
  case 8: {
    int access = (int)any(5);
    if (result(lheap_mapping_begin(piece->mapping, access, &error)) != LHEAP_OK) break;
    unsigned char *data = lheap_mapping_data(piece->mapping);
    size_t size = lheap_mapping_byte_count(piece->mapping);
    if (access > 1) data[any(size)] = (unsigned char)step;
    else CHECK(data[any(size)] <= 255);
    CHECK(result(lheap_mapping_end(piece->mapping, access, &error)) == LHEAP_OK);
    break;
  }
  case 9:
    if (handle->vmo && !fd->buffer) {
      *fd = (struct loose){lheap_vmo_release_fd(handle->vmo), handle->buffer};
      *handle = (struct handle){NULL, NULL};
    }
    break;
  case 10:
    if (fd->buffer && !handle->vmo) {
      if (result(lheap_vmo_adopt_take(fd->fd, &handle->vmo, &error)) == LHEAP_OK) handle->buffer = fd->buffer;
      else let_go(fd->buffer);
      *fd = (struct loose){-1, NULL};
    }
    break;
  case 11:
    if (fd->buffer) {
      let_go(fd->buffer);
      close(fd->fd);
      *fd = (struct loose){-1, NULL};
    }
    break;
  case 12: {
    lheap_buffer_info info = {.size = any(2) ? sizeof info : any(2 * sizeof info)};
    result(lheap_fd_info(fd->buffer ? fd->fd : (int)any(40) - 2, &info, &error));
    break;
  }
  case 13: {
    uint64_t collection, index;
    int code = result(lheap_buffer_of(heap, handle->vmo, &collection, &index, &error));
    CHECK(handle->vmo ? code == LHEAP_OK || code == LHEAP_NOT_FOUND : code == LHEAP_INVALID_ARGS);
    break;
  }
  case 14:
    /* Waits for others, so it has none. */
    if (handle->vmo && handle->buffer->children == 1) {
      /* Of a heap that was closed, or of this. A service's connections know one another's buffers, and each cleans up after its own. */
      int code = result(lheap_delete(heap, handle->vmo, &error));
      bool is_own = handle->buffer->heap == heaps;
      handle->buffer->children--;
      if (code == LHEAP_OK) CHECK(is_own ? handle->buffer->ends == handle->buffer->cleans : is_service(heap_name));
      else CHECK(code == LHEAP_NOT_FOUND && !is_own);
      *handle = (struct handle){NULL, NULL};
    } else {
      CHECK(result(lheap_delete(heap, NULL, &error)) == LHEAP_INVALID_ARGS);
    }
    break;
  case 15: {
    int *tracker = &trackers[any(4)];
    if (*tracker >= 0) close(*tracker);
    *tracker = -1;
    result(lheap_track(heap, any(3), (uint32_t)any(3), tracker, &error));
    break;
  }
  case 16: {
    int fence = -1;
    if (result(lheap_vmo_export_fence(handle->vmo, (int)any(5), &fence, &error)) != LHEAP_OK) break;
    CHECK(result(lheap_fence_wait(fence, (int64_t)any(1000), &error)) == LHEAP_OK);
    int merged = -1;
    CHECK(result(lheap_fence_merge(fence, fence, &merged, &error)) == LHEAP_OK);
    if (other->vmo) result(lheap_vmo_import_fence(other->vmo, any(2) ? fence : merged, (int)any(5), &error));
    close(merged);
    close(fence);
    break;
  }
  case 17:
    if (handle->vmo) result(lheap_vmo_set_name(handle->vmo, any(2) ? "fuzz" : "a name that is longer than the kernel takes", &error));
    break;
  case 18: {
    lheap_properties properties = {.size = any(3 * sizeof properties)};
    result(lheap_get_properties(any(8) ? heap : NULL, &properties, &error));
    break;
  }
  case 19: {
    struct pollfd wait = {.fd = lheap_event_fd(heap), .events = POLLIN};
    if (wait.fd >= 0) poll(&wait, 1, 0);
    lheap_dispatch(heap);
    break;
  }
  case 20:
    if (handle->vmo) {
      const char *name = lheap_vmo_heap_name(handle->vmo);
      CHECK(lheap_vmo_lend_fd(handle->vmo) >= 0 && lheap_vmo_byte_count(handle->vmo) > 0 && (!name || *name));
      CHECK(lheap_vmo_offset(handle->vmo) % page == 0 && (unsigned)lheap_vmo_kind(handle->vmo) <= LHEAP_OPAQUE);
    }
    break;
  case 21: {
    lheap_list *list = NULL;
    if (any(64) || result(lheap_list_read(&list, &error)) != LHEAP_OK) break;
    size_t count = lheap_list_count(list);
    for (size_t index = 0; index < count; index++) CHECK(*lheap_list_at(list, index)->name);
    CHECK(lheap_list_at(list, count + any(9)) == NULL);
    lheap_list_free(list);
    break;
  }
  case 22: {
    lheap *another = NULL;
    const char *names[] = {any(2) ? "no-such-heap" : NULL, "memfd"};
    if (any(64)) break;
    if (result(lheap_open_first_of(names, any(3), (unsigned)any(3), &another, &error)) == LHEAP_OK) lheap_close(another);
    const char *sockets[] = {"/nowhere/heap.sock", heap_name, NULL};
    if (result(lheap_connect(sockets[any(3)], &another, &error)) == LHEAP_OK) lheap_close(another);
    CHECK(*lheap_version());
    break;
  }
  case 23: allocate_by_name(); break;
  case 24: {
    /* What a descriptor is of the kernel knows. */
    unsigned descriptor = fd->buffer ? (unsigned)fd->fd : (unsigned)any(40) + 4096;
    SyncType type = (SyncType)any(5);
    BufferAllocator *here = any(16) ? allocator : NULL;
    if (number(DmabufHeapCpuSyncStart(here, descriptor, type, NULL, NULL)) != 0) break;
    CHECK(here && number(DmabufHeapCpuSyncEnd(here, descriptor, type, NULL, NULL)) == 0);
    break;
  }
  case 25:
    CHECK(number(MapDmabufHeapNameToIonHeap(allocator, heap_name, "", 0, 0, 0)) == 0 && !CheckIonSupport());
    if (any(16)) break;
    /* Buffers outlive it. */
    FreeDmabufHeapBufferAllocator(allocator);
    allocator = CreateDmabufHeapBufferAllocator();
    CHECK(allocator);
  }
}

#include "descriptors.h"

int main(int count, char **words) {
  if (count < 4) return 64;
  unsigned long most = strtoul(words[2], NULL, 0);
  state = strtoull(words[3], NULL, 0) | 1;
  page = (size_t)sysconf(_SC_PAGESIZE);
  heap_name = words[1];
  allocator = CreateDmabufHeapBufferAllocator();
  CHECK(allocator);
  int before = descriptors();
  lheap *heap = NULL;
  /* Half of the runs have a thread. */
  unsigned flags = any(2) ? LHEAP_OWN_LOOP : 0;
  for (step = 0; calls < most; step++) {
    if (heap == NULL) {
      CHECK(result(open_heap(heap_name, flags, &heap, &error)) == LHEAP_OK);
      heaps++;
    }
    turn(heap);
    /* Buffers outlive their heap; what is of another is refused. */
    if (any(5000) == 0) {
      lheap_close(heap);
      heap = NULL;
      flags = any(2) ? LHEAP_OWN_LOOP : 0;
    }
  }
  for (int index = 0; index < MOST; index++) {
    lheap_vmo_close(handles[index].vmo);
    lheap_unmap(pieces[index].mapping);
    if (loose[index].buffer) close(loose[index].fd);
    if (index < 4 && trackers[index] >= 0) close(trackers[index]);
  }
  for (int wait = 0; heap && wait < LOOKS && lheap_live_count(heap) > 0; wait++) {
    lheap_dispatch(heap);
    usleep(5000);
  }
  CHECK(heap == NULL || lheap_live_count(heap) == 0);
  lheap_close(heap);
  FreeDmabufHeapBufferAllocator(allocator);
  for (struct buffer *buffer = buffers, *next; buffer; buffer = next) {
    next = buffer->next;
    for (int wait = 0; wait < LOOKS && buffer->ends < buffer->cleans; wait++) usleep(5000);
    CHECK(buffer->ends == buffer->cleans);
    free(buffer);
  }
  int left = 0;
  for (int wait = 0; wait < LOOKS && (left = descriptors()) > before + 3; wait++) usleep(5000);
  CHECK(left <= before + 3);
  printf("%s: %lu calls from seed %s: nothing is left\n", words[1], calls, words[3]);
}
