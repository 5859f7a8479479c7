#!/usr/bin/env bash
# Linux 6.12.117-1 (Debian 13's linux-image-6.12.117+deb13-amd64) and 7.3.4-1~bpo13+1 (trixie-backports'
# linux-image-7.3.4+deb13-amd64): the sync_file of a system heap's buffer on which nothing was ever done
# (DMA_BUF_IOCTL_EXPORT_SYNC_FILE, then SYNC_IOC_FILE_INFO).
#
# Seen: one fence that is signaled, on both, and all such buffers have the same one. On 7.3 it was signaled while the kernel started, before
# the first process; on 6.12 when anybody first asked for one. So the fence of a buffer of now was signaled before the buffer was made,
# minutes or months ago. Its driver is "stub" on 6.12 and "detached-driver" on 7.3.
#
# A good engineer would guess: a file without fences (num_fences is 0 for such), or a fence that was signaled when it was asked for.
# The kernel gives one that it has for all (dma_fence_get_stub, drivers/dma-buf/dma-fence.c).
#
# It matters to whoever takes timestamp_ns for the moment at which a frame was done, to pace frames or to measure a device: where no device
# has put a fence on the buffer the answer is a time of long ago, in the same form as a right one. Before the timestamp is used compare it
# with a time of one's own, e.g. when the buffer was handed over; the driver's name does not tell, since it changed.
#
# Needs apt, mmdebstrap as root, gcc with the static C library, cpio and qemu-system-x86_64.
set -euo pipefail
old=linux-image-6.12.117+deb13-amd64=6.12.117-1 new=linux-image-7.3.4+deb13-amd64=7.3.4-1~bpo13+1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
# This machine's own archive of Debian, wherever it is, asked for Debian 13 and its backports.
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
  awk -v deb="deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " '$2 ~ /^[a-z]+(-updates|-security)?$/ {
    sub(/^[a-z]+/, "trixie", $2)
    print deb $0
    if (sub(/^trixie$/, "trixie-backports", $2)) print deb $0
  }' | sort -u > sources.list
mmdebstrap --mode=root --variant=extract --include="linux-base/trixie-backports,$old,$new" \
  trixie root sources.list > mmdebstrap.log 2>&1 || { tail mmdebstrap.log >&2 && exit 1; }
mv root/boot/vmlinuz-6.12.* vmlinuz-old
mv root/usr/lib/modules/7.3.*/vmlinuz vmlinuz-new

cat > init.c <<'C'
// The first process of the guest: fences of buffers that nobody has used.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/sync_file.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * UINT64_C(1000000000) + time.tv_nsec;
}

static int failed(const char *call) {
    printf("SEEN %s: %s\n", call, strerror(errno));
    return -1;
}

static int idle(uint64_t start) {
    static uint64_t last;
    uint64_t made = now();
    int heap = open("/dev/dma_heap/system", O_RDWR);
    struct dma_heap_allocation_data data = {.len = 4096, .fd_flags = O_RDWR | O_CLOEXEC};
    if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) < 0) return failed("DMA_HEAP_IOCTL_ALLOC");
    struct dma_buf_export_sync_file export = {.flags = DMA_BUF_SYNC_RW};
    if (ioctl(data.fd, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export) < 0) return failed("DMA_BUF_IOCTL_EXPORT_SYNC_FILE");
    struct sync_fence_info fence[2] = {0};
    struct sync_file_info info = {.num_fences = 2, .sync_fence_info = (uintptr_t)fence};
    if (ioctl(export.fd, SYNC_IOC_FILE_INFO, &info) < 0) return failed("SYNC_IOC_FILE_INFO");
    uint64_t signaled = fence[0].timestamp_ns;
    printf("SEEN status %d, fences %u, driver %s, signaled %s%s\n", info.status, info.num_fences, fence[0].driver_name,
           signaled < start ? "before the first process" : signaled < made ? "before the buffer was made" : "after the buffer was made",
           signaled == last ? ", as the last one" : "");
    last = signaled;
    close(heap), close(data.fd), close(export.fd);
    return 0;
}

int main(void) {
    uint64_t start = now();
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    idle(start);
    sleep(1);
    idle(start);
    fflush(stdout);
    reboot(RB_POWER_OFF);
}
C
gcc -static -O1 -Wall -o init init.c

# boot KERNEL PACKAGE
boot() {
  local folder=initramfs-$1
  mkdir -p "$folder/dev"
  cp init "$folder/"
  (cd "$folder" && find . | cpio -o -H newc --quiet) > initramfs
  timeout 600 qemu-system-x86_64 -m 1G -nodefaults -display none -nic none -no-reboot -serial file:console \
    -kernel "vmlinuz-$1" -initrd initramfs -append "console=ttyS0 quiet panic=-1 no_timer_check" < /dev/null
  sed -nE "s/\r\$//; s/^.*SEEN /${2%%+*}: /p" console | tee -a seen
}
boot old "$old"
boot new "$new"
cat > expected <<TEXT
linux-image-6.12.117: status 1, fences 1, driver stub, signaled after the buffer was made
linux-image-6.12.117: status 1, fences 1, driver stub, signaled before the buffer was made, as the last one
linux-image-7.3.4: status 1, fences 1, driver detached-driver, signaled before the first process
linux-image-7.3.4: status 1, fences 1, driver detached-driver, signaled before the first process, as the last one
TEXT
diff expected seen && echo "as recorded: $old, $new" || { tail -n 20 console && exit 1; }
