/** @file
 * dmabufheap.h: the C functions of Android's libdmabufheap, by their names and meanings, over linuxheaps.h: for programs that were written
 * for that library. They link to liblinuxheaps, and so get its admission checks, control group limits and heap names.
 *
 * Functions return a descriptor or 0, and -errno where they fail. What is told of ION, which Linux has no more, is not used. A child of
 * fork(2) whose parent has allocated calls exec(2) before it allocates: -EIO until then.
 */
#ifndef LINUXHEAPS_DMABUFHEAP_H
#define LINUXHEAPS_DMABUFHEAP_H

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

static const char kDmabufSystemHeapName[] = "system";
static const char kDmabufSystemUncachedHeapName[] = "system-uncached";

/** With the values of DMA_BUF_SYNC_READ, _WRITE and _RW (linux/dma-buf.h). */
typedef enum {
  kSyncRead = 1,
  kSyncWrite = 2,
  kSyncReadWrite = 3,
} SyncType;

/** Heaps that were opened. Its functions may be called on several threads at once. */
typedef struct BufferAllocator BufferAllocator;

/** NULL where there is no memory. */
BufferAllocator *CreateDmabufHeapBufferAllocator(void);
/** Buffers live on. */
void FreeDmabufHeapBufferAllocator(BufferAllocator *allocator);

/** A dma-buf of `len` bytes, rounded up to whole pages, from the heap of that name. `heap_flags` must be 0, as for the kernel. */
int DmabufHeapAlloc(BufferAllocator *allocator, const char *heap_name, size_t len, unsigned int heap_flags, size_t legacy_align);
/** From `system`, or `system-uncached` where the processor needs no access and there is such a heap. */
int DmabufHeapAllocSystem(BufferAllocator *allocator, bool cpu_access, size_t len, unsigned int heap_flags, size_t legacy_align);
/** 0: a heap has the name that it has. */
int MapDmabufHeapNameToIonHeap(BufferAllocator *allocator, const char *heap_name, const char *ion_heap_name, unsigned int ion_heap_flags,
                               unsigned int legacy_ion_heap_mask, unsigned int legacy_ion_heap_flags);

/** Begins an access of the processor's (DMA_BUF_IOCTL_SYNC). */
int DmabufHeapCpuSyncStart(BufferAllocator *allocator, unsigned int dmabuf_fd, SyncType sync_type,
                           int (*legacy_ion_cpu_sync)(int, int, void *), void *legacy_ion_custom_data);
/** Ends it, with the same type. */
int DmabufHeapCpuSyncEnd(BufferAllocator *allocator, unsigned int dmabuf_fd, SyncType sync_type,
                         int (*legacy_ion_cpu_sync)(int, int, void *), void *legacy_ion_custom_data);

/** False. */
bool CheckIonSupport(void);

#ifdef __cplusplus
}
#endif
#endif
