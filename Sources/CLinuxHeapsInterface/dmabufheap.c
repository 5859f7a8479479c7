#include "dmabufheap.h"

#include <errno.h>
#include <linux/dma-buf.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "linuxheaps.h"

struct opened {
  struct opened *next;
  lheap *heap;
  char name[];
};

struct BufferAllocator {
  pthread_mutex_t lock;
  struct opened *heaps;
};

BufferAllocator *CreateDmabufHeapBufferAllocator(void) {
  BufferAllocator *allocator = malloc(sizeof *allocator);
  if (allocator != NULL) *allocator = (BufferAllocator){.lock = PTHREAD_MUTEX_INITIALIZER};
  return allocator;
}

void FreeDmabufHeapBufferAllocator(BufferAllocator *allocator) {
  if (allocator == NULL) return;
  for (struct opened *heap = allocator->heaps, *next; heap != NULL; heap = next) {
    next = heap->next;
    lheap_close(heap->heap);
    free(heap);
  }
  pthread_mutex_destroy(&allocator->lock);
  free(allocator);
}

/* What is returned for a refusal, which is freed. */
static int refused(int code, lheap_error *error) {
  int number = lheap_error_errno(error);
  lheap_error_free(error);
  if (number != 0) return -number;
  switch (code) {
  case LHEAP_NO_MEMORY: return -ENOMEM;
  case LHEAP_NOT_FOUND: return -ENOENT;
  case LHEAP_ACCESS_DENIED: return -EACCES;
  case LHEAP_NO_RESOURCES: return -EMFILE;
  case LHEAP_NOT_SUPPORTED: return -EOPNOTSUPP;
  case LHEAP_INVALID_ARGS:
  case LHEAP_OUT_OF_RANGE: return -EINVAL;
  default: return -EIO;
  }
}

/* The heap of a name, opened at its first use; the lock is held. */
static int find(BufferAllocator *allocator, const char *name, lheap **heap) {
  for (struct opened *opened = allocator->heaps; opened != NULL; opened = opened->next) {
    if (strcmp(opened->name, name) == 0) {
      *heap = opened->heap;
      return 0;
    }
  }
  size_t size = strlen(name) + 1;
  struct opened *opened = malloc(sizeof *opened + size);
  if (opened == NULL) return -ENOMEM;
  lheap_error *error = NULL;
  int code = lheap_open(name, 0, &opened->heap, &error);
  if (code != LHEAP_OK) {
    free(opened);
    return refused(code, error);
  }
  memcpy(opened->name, name, size);
  opened->next = allocator->heaps;
  allocator->heaps = opened;
  *heap = opened->heap;
  return 0;
}

int DmabufHeapAlloc(BufferAllocator *allocator, const char *heap_name, size_t len, unsigned int heap_flags, size_t legacy_align) {
  (void)legacy_align;
  if (allocator == NULL || heap_name == NULL || heap_flags != 0) return -EINVAL;
  lheap *heap = NULL;
  pthread_mutex_lock(&allocator->lock);
  int result = find(allocator, heap_name, &heap);
  pthread_mutex_unlock(&allocator->lock);
  if (result != 0) return result;
  lheap_error *error = NULL;
  int fd = -1, code = lheap_allocate_fd(heap, len, NULL, &fd, &error);
  return code == LHEAP_OK ? fd : refused(code, error);
}

int DmabufHeapAllocSystem(BufferAllocator *allocator, bool cpu_access, size_t len, unsigned int heap_flags, size_t legacy_align) {
  bool is_uncached = !cpu_access && access("/dev/dma_heap/system-uncached", F_OK) == 0;
  const char *name = is_uncached ? kDmabufSystemUncachedHeapName : kDmabufSystemHeapName;
  return DmabufHeapAlloc(allocator, name, len, heap_flags, legacy_align);
}

int MapDmabufHeapNameToIonHeap(BufferAllocator *allocator, const char *heap_name, const char *ion_heap_name, unsigned int ion_heap_flags,
                               unsigned int legacy_ion_heap_mask, unsigned int legacy_ion_heap_flags) {
  (void)heap_name, (void)ion_heap_name, (void)ion_heap_flags, (void)legacy_ion_heap_mask, (void)legacy_ion_heap_flags;
  return allocator == NULL ? -EINVAL : 0;
}

static int sync_buffer(BufferAllocator *allocator, unsigned int fd, SyncType type, unsigned int end) {
  if (allocator == NULL || (type & ~kSyncReadWrite) != 0 || type == 0) return -EINVAL;
  struct dma_buf_sync sync = {.flags = (unsigned int)type | end};
  int result;
  do result = ioctl((int)fd, DMA_BUF_IOCTL_SYNC, &sync);
  while (result == -1 && (errno == EINTR || errno == EAGAIN));
  return result == 0 ? 0 : -errno;
}

int DmabufHeapCpuSyncStart(BufferAllocator *allocator, unsigned int dmabuf_fd, SyncType sync_type,
                           int (*legacy_ion_cpu_sync)(int, int, void *), void *legacy_ion_custom_data) {
  (void)legacy_ion_cpu_sync, (void)legacy_ion_custom_data;
  return sync_buffer(allocator, dmabuf_fd, sync_type, DMA_BUF_SYNC_START);
}

int DmabufHeapCpuSyncEnd(BufferAllocator *allocator, unsigned int dmabuf_fd, SyncType sync_type,
                         int (*legacy_ion_cpu_sync)(int, int, void *), void *legacy_ion_custom_data) {
  (void)legacy_ion_cpu_sync, (void)legacy_ion_custom_data;
  return sync_buffer(allocator, dmabuf_fd, sync_type, DMA_BUF_SYNC_END);
}

bool CheckIonSupport(void) { return false; }
