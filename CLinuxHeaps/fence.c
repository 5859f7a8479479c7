#ifdef __linux__
#include <CLinuxHeaps.h>
#include <string.h>
#include <sys/ioctl.h>

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
_Static_assert(sizeof(struct sync_merge_data) == 48, "linux/sync_file.h");
_Static_assert(sizeof(struct sync_file_info) == 56, "linux/sync_file.h");
_Static_assert(sizeof(struct sync_fence_info) == 80, "linux/sync_file.h");

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
