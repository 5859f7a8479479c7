// A program of 32 bits that allocates, names, fills, fences and sends a heap's buffer, and makes a dma-buf of a memfd.
#include <CLinuxHeaps.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

_Static_assert(sizeof(void *) == 4, "32 bits");

static int check(const char *what, int result) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static void fill(int buffer, size_t size) {
    check("begin", CLinuxHeaps_dma_buf_sync(buffer, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW));
    unsigned char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, buffer, 0);
    if (bytes == MAP_FAILED) check("mmap", -1);
    bytes[size - 1] = 42;
    check("munmap", munmap(bytes, size));
    check("end", CLinuxHeaps_dma_buf_sync(buffer, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW));
}

int main(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    int heap = check("/dev/dma_heap/system", open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC));
    struct dma_heap_allocation_data data = {.len = size, .fd_flags = O_RDWR | O_CLOEXEC};
    check("allocate", CLinuxHeaps_dma_heap_alloc(heap, &data));
    int buffer = (int)data.fd;
    check("name", CLinuxHeaps_dma_buf_set_name(buffer, "armhf"));
    fill(buffer, size);

    int fence = check("export fence", CLinuxHeaps_export_fence(buffer, DMA_BUF_SYNC_READ));
    check("import fence", CLinuxHeaps_import_fence(buffer, DMA_BUF_SYNC_READ, fence));
    int merged = check("merge fences", CLinuxHeaps_merge_fences(fence, fence, "armhf"));
    struct sync_file_info information;
    struct sync_fence_info points[4];
    check("fence info", CLinuxHeaps_fence_info(merged, &information, points, 4));
    if (information.status != 1) check("the fence has signaled", -1);

    int ends[2];
    check("socketpair", socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
    check("send", (int)CLinuxHeaps_send(ends[0], "x", 1, &buffer, 1));
    int arrived[CLinuxHeaps_MAX_ARRIVING];
    size_t count = 0;
    int fault = 0;
    char byte;
    check("receive", (int)CLinuxHeaps_receive(ends[1], &byte, 1, arrived, &count, &fault));
    uint64_t device, inode, sent_device, sent_inode;
    check("identity", CLinuxHeaps_identity(buffer, &device, &inode));
    check("identity", CLinuxHeaps_identity(arrived[0], &sent_device, &sent_inode));
    if (count != 1 || fault || device != sent_device || inode != sent_inode) check("the same buffer", -1);

    int memfd = check("memfd", CLinuxHeaps_memfd_create("armhf", CLinuxHeaps_MFD_CLOEXEC | CLinuxHeaps_MFD_ALLOW_SEALING));
    check("ftruncate", ftruncate(memfd, (off_t)size));
    check("seal", CLinuxHeaps_add_seals(memfd, CLinuxHeaps_F_SEAL_SHRINK));
    int udmabuf = check("/dev/udmabuf", open("/dev/udmabuf", O_RDWR | O_CLOEXEC));
    int made = check("udmabuf", CLinuxHeaps_udmabuf_create(udmabuf, memfd, 0, size));
    fill(made, size);
    puts("armhf: passed");
}
