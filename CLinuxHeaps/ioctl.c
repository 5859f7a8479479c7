#ifdef __linux__
#include <CLinuxHeaps.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// These structs are the kernel's ABI: a header that disagrees must not compile. They are the same for programs of 32 bits, so that a
// kernel of 64 takes their calls as they are (`compat_ptr_ioctl`).
_Static_assert(sizeof(struct dma_heap_allocation_data) == 24, "linux/dma-heap.h");
_Static_assert(offsetof(struct dma_heap_allocation_data, fd) == 8, "linux/dma-heap.h");
_Static_assert(offsetof(struct dma_heap_allocation_data, fd_flags) == 12, "linux/dma-heap.h");
_Static_assert(offsetof(struct dma_heap_allocation_data, heap_flags) == 16, "linux/dma-heap.h");
_Static_assert(sizeof(struct dma_buf_sync) == 8, "linux/dma-buf.h");
_Static_assert(sizeof(struct udmabuf_create) == 24, "linux/udmabuf.h");
_Static_assert(offsetof(struct udmabuf_create, offset) == 8, "linux/udmabuf.h");
_Static_assert(offsetof(struct udmabuf_create, size) == 16, "linux/udmabuf.h");
_Static_assert(DMA_BUF_NAME_LEN == 32, "linux/dma-buf.h");
// DMA_BUF_SET_NAME has the size of a pointer in its number; this one has 8 for both.
_Static_assert(_IOC_SIZE(DMA_BUF_SET_NAME_B) == 8, "linux/dma-buf.h");

int CLinuxHeaps_dma_heap_alloc(int heap, struct dma_heap_allocation_data *data) {
    return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, data);
}

enum { UNKNOWN = -1, KILLED = -2 };

// What comes of a system call that a child makes: 0, its errno, or one of the above.
static int outcome(long call, uintptr_t first, uintptr_t second, void *third) {
    // Without a signal at its end: the program that links this may wait for children of its own, and would get this one too.
    pid_t child = (pid_t)syscall(SYS_clone, 0, NULL, NULL, NULL, NULL);
    // Only system calls: another thread may have held a lock.
    if (child == 0) _exit(syscall(call, first, second, third) == 0 ? 0 : errno);
    if (child < 0) return UNKNOWN;
    int status = 0;
    while (waitpid(child, &status, __WCLONE) < 0)
        if (errno != EINTR) return UNKNOWN;
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    return WTERMSIG(status) == SIGSYS ? KILLED : UNKNOWN;
}

static bool kills(int device, unsigned long request, void *argument) {
    return outcome(SYS_ioctl, (uintptr_t)device, request, argument) == KILLED;
}

bool CLinuxHeaps_memfd_create_kills(void) {
    return outcome(SYS_memfd_create, (uintptr_t)"", UINT32_MAX, NULL) == KILLED;
}

bool CLinuxHeaps_dma_heap_alloc_kills(int heap) {
    struct dma_heap_allocation_data data = {.len = 1, .fd = 1};
    return kills(heap, DMA_HEAP_IOCTL_ALLOC, &data);
}

bool CLinuxHeaps_udmabuf_create_kills(int udmabuf) {
    struct udmabuf_create create = {.memfd = UINT32_MAX, .size = 1};
    return kills(udmabuf, UDMABUF_CREATE, &create);
}

// "[PATCH RFC 2/5] dma-heap: charge dma-buf memory via explicit memcg", A. Esteve, 2026-05-12; no kernel has it yet.
struct charged_allocation {
    struct dma_heap_allocation_data data;
    uint32_t charge_fd;
    uint32_t padding;
};

int CLinuxHeaps_dma_heap_knows_charge(int heap) {
    // More than fs.nr_open can allow; 0 and -1 may stand for the caller.
    struct charged_allocation request = {.data = {.len = 1, .fd_flags = O_RDWR | O_CLOEXEC}, .charge_fd = INT32_MAX};
    int result = outcome(SYS_ioctl, (uintptr_t)heap, _IOWR(DMA_HEAP_IOC_MAGIC, 0x0, struct charged_allocation), &request);
    return result == EBADF ? 1 : result == 0 ? 0 : -1;
}

int CLinuxHeaps_dma_buf_sync(int buffer, uint64_t flags) {
    struct dma_buf_sync sync = {.flags = flags};
    return ioctl(buffer, DMA_BUF_IOCTL_SYNC, &sync);
}

int CLinuxHeaps_dma_buf_set_name(int buffer, const char *name) {
    return ioctl(buffer, DMA_BUF_SET_NAME_B, name);
}

int CLinuxHeaps_udmabuf_create(int udmabuf, int memfd, uint64_t offset, uint64_t size) {
    struct udmabuf_create create = {
        .memfd = (uint32_t)memfd, .flags = UDMABUF_FLAGS_CLOEXEC, .offset = offset, .size = size};
    return ioctl(udmabuf, UDMABUF_CREATE, &create);
}

#ifndef DMA_BUF_IOCTL_EXPORT_SYNC_FILE
// linux/dma-buf.h of Linux 6.0; an older kernel answers ENOTTY.
struct dma_buf_export_sync_file {
    uint32_t flags;
    int32_t fd;
};
struct dma_buf_import_sync_file {
    uint32_t flags;
    int32_t fd;
};
#define DMA_BUF_IOCTL_EXPORT_SYNC_FILE _IOWR(DMA_BUF_BASE, 2, struct dma_buf_export_sync_file)
#define DMA_BUF_IOCTL_IMPORT_SYNC_FILE _IOW(DMA_BUF_BASE, 3, struct dma_buf_import_sync_file)
#endif

_Static_assert(sizeof(struct dma_buf_export_sync_file) == 8, "linux/dma-buf.h");
_Static_assert(offsetof(struct dma_buf_export_sync_file, fd) == 4, "linux/dma-buf.h");
_Static_assert(sizeof(struct dma_buf_import_sync_file) == 8, "linux/dma-buf.h");
_Static_assert(offsetof(struct dma_buf_import_sync_file, fd) == 4, "linux/dma-buf.h");
_Static_assert(sizeof(struct sync_merge_data) == 48, "linux/sync_file.h");
_Static_assert(offsetof(struct sync_merge_data, fence) == 36, "linux/sync_file.h");
_Static_assert(sizeof(struct sync_file_info) == 56, "linux/sync_file.h");
_Static_assert(offsetof(struct sync_file_info, sync_fence_info) == 48, "linux/sync_file.h");
_Static_assert(sizeof(struct sync_fence_info) == 80, "linux/sync_file.h");
_Static_assert(offsetof(struct sync_fence_info, timestamp_ns) == 72, "linux/sync_file.h");

int CLinuxHeaps_export_fence(int buffer, uint32_t flags) {
    struct dma_buf_export_sync_file request = {.flags = flags, .fd = -1};
    return ioctl(buffer, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &request) == 0 ? request.fd : -1;
}

int CLinuxHeaps_import_fence(int buffer, uint32_t flags, int fence) {
    struct dma_buf_import_sync_file request = {.flags = flags, .fd = fence};
    return ioctl(buffer, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &request);
}

int CLinuxHeaps_merge_fences(int first, int second, const char *name) {
    struct sync_merge_data request = {.fd2 = second, .fence = -1};
    strncpy(request.name, name, sizeof request.name - 1);
    return ioctl(first, SYNC_IOC_MERGE, &request) == 0 ? request.fence : -1;
}

int CLinuxHeaps_fence_info(int fence, struct sync_file_info *information,
                           struct sync_fence_info *points, uint32_t capacity) {
    memset(information, 0, sizeof *information);
    information->num_fences = capacity;
    information->sync_fence_info = (uintptr_t)points;
    return ioctl(fence, SYNC_IOC_FILE_INFO, information);
}
#endif
