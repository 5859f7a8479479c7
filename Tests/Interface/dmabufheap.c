/* dmabufheap.c HEAP: what programs for Android's libdmabufheap call, on a heap. */
#include <dmabufheap.h>
#include <errno.h>
#include <fcntl.h>
#include <linuxheaps.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"

/* What is closed is free for the next buffer, though two of the size do not fit: of a heap with a region, or of all memory. */
static void alternate(BufferAllocator *allocator, const char *name) {
  size_t size = strcmp(name, "memfd") == 0 ? (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE) : 0;
  lheap_list *list = NULL;
  CHECK(lheap_list_read(&list, NULL) == LHEAP_OK);
  for (size_t index = 0; index < lheap_list_count(list); index++) {
    const lheap_entry *entry = lheap_list_at(list, index);
    if (strcmp(entry->name, name) == 0) size = (size_t)entry->capacity;
  }
  lheap_list_free(list);
  if (size == 0) return;
  int fd;
  while ((fd = DmabufHeapAlloc(allocator, name, size, 0, 0)) == -ENOMEM) size -= size / 8;
  for (int round = 0; round < 20; round++) {
    CHECK(fd >= 0);
    close(fd);
    /* Others take a little meanwhile. */
    fd = DmabufHeapAlloc(allocator, name, size / 4 * 3, 0, 0);
  }
  CHECK(fd >= 0);
  close(fd);
}

int main(int count, char **words) {
  if (count < 2) return 64;
  BufferAllocator *allocator = CreateDmabufHeapBufferAllocator();
  CHECK(allocator != NULL && !CheckIonSupport());
  CHECK(MapDmabufHeapNameToIonHeap(allocator, words[1], "", 0, ~0u, 0) == 0);
  int fds[2] = {DmabufHeapAlloc(allocator, words[1], 10000, 0, 0), DmabufHeapAlloc(allocator, words[1], 10000, 0, 0)};
  bool is_dma_buf = strcmp(words[1], "memfd") != 0;
  for (int index = 0; index < 2; index++) {
    CHECK(fds[index] >= 0 && (fcntl(fds[index], F_GETFD) & FD_CLOEXEC));
    CHECK(lseek(fds[index], 0, SEEK_END) >= 10000);
    unsigned char *bytes = mmap(NULL, 10000, PROT_READ | PROT_WRITE, MAP_SHARED, fds[index], 0);
    CHECK(bytes != MAP_FAILED && bytes[9999] == 0);
    CHECK(DmabufHeapCpuSyncStart(allocator, (unsigned)fds[index], kSyncReadWrite, NULL, NULL) == (is_dma_buf ? 0 : -ENOTTY));
    bytes[9999] = 1;
    CHECK(DmabufHeapCpuSyncEnd(allocator, (unsigned)fds[index], kSyncReadWrite, NULL, NULL) == (is_dma_buf ? 0 : -ENOTTY));
    munmap(bytes, 10000);
  }
  CHECK(DmabufHeapAlloc(allocator, "no-such-heap", 4096, 0, 0) == -ENOENT);
  CHECK(DmabufHeapAlloc(allocator, words[1], 0, 0, 0) == -EINVAL);
  CHECK(DmabufHeapAlloc(allocator, words[1], 4096, 1, 0) == -EINVAL);
  CHECK(DmabufHeapAlloc(NULL, words[1], 4096, 0, 0) == -EINVAL);
  CHECK(DmabufHeapCpuSyncStart(allocator, (unsigned)fds[0], 0, NULL, NULL) == -EINVAL);
  CHECK(DmabufHeapCpuSyncStart(allocator, 99999, kSyncRead, NULL, NULL) == -EBADF);
  int system = DmabufHeapAllocSystem(allocator, false, 4096, 0, 0);
  CHECK(access("/dev/dma_heap/system", R_OK) == 0 ? system >= 0 : system < 0);
  if (system >= 0) close(system);
  alternate(allocator, words[1]);
  /* Buffers outlive what they were allocated with. */
  FreeDmabufHeapBufferAllocator(allocator);
  FreeDmabufHeapBufferAllocator(NULL);
  unsigned char last = 0;
  CHECK(!is_dma_buf ? pread(fds[0], &last, 1, 9999) == 1 && last == 1 : fcntl(fds[0], F_GETFD) >= 0);
  close(fds[0]);
  close(fds[1]);
  printf("%s: libdmabufheap's names pass\n", words[1]);
  return 0;
}
