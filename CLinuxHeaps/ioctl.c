#ifdef __linux__
#include <CLinuxHeaps.h>
#include <linux/udmabuf.h>
#include <sys/ioctl.h>

// These structs are the kernel's ABI: a header that disagrees must not compile.
_Static_assert(sizeof(struct dma_heap_allocation_data) == 24, "linux/dma-heap.h");
_Static_assert(offsetof(struct dma_heap_allocation_data, fd_flags) == 12, "linux/dma-heap.h");
_Static_assert(sizeof(struct dma_buf_sync) == 8, "linux/dma-buf.h");
_Static_assert(sizeof(struct udmabuf_create) == 24, "linux/udmabuf.h");
_Static_assert(DMA_BUF_NAME_LEN == 32, "linux/dma-buf.h");

int CLinuxHeaps_dma_heap_alloc(int heap, struct dma_heap_allocation_data *data) {
    return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, data);
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
#endif
