#!/usr/bin/env bash
# Linux 6.12.117-1~deb12u1 (Debian's linux-image-6.12.117+deb12-amd64): file locks on dma-bufs of the system heap.
#
# Seen: flock(2) and open file description locks (F_OFD_SETLK) are taken on a dma-buf as on a file, byte ranges far beyond its
# size included. They belong to the open file, which all holders of the buffer share: whoever looks into the fdinfo of a descriptor
# of its own, the exporter too, has a line for each before "size:" and "count:". 200 ranges of one holder move "count:" from byte
# 91 to beyond byte 10,000, and it stays there when that holder has ended. Any other holder takes them away, by unlocking.
#
# A good engineer would guess: a dma-buf has no bytes for read(2) and write(2), so that nothing can be locked; or that a lock goes
# with the process that took it; or at least that what the driver tells comes before what others did.
#
# It matters to whoever reads "count:" of a dma-buf into a buffer of usual size, to see whether it is the last holder: the line is
# not in it, for as long as one of those who had the buffer likes. Unlock (flock LOCK_UN, F_OFD_SETLK F_UNLCK) and look again.
#
# Needs apt, dpkg-deb, gcc with the static C library, cpio and qemu-system-x86_64, and no root.
set -euo pipefail
package=linux-image-6.12.117+deb12-amd64 version=6.12.117-1~deb12u1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download "$package=$version" > download.log 2>&1 || { cat download.log >&2 && exit 1; }
dpkg-deb -x "$package"_*.deb image

cat > init.c <<'C'
// The first process of the guest: says where "count:" is, and switches the machine off.
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int lock(int file, short type, off_t start) {
    struct flock range = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = type == F_UNLCK ? 0 : 1};
    return fcntl(file, F_OFD_SETLK, &range);
}

static void tell(const char *when, int file) {
    static char text[1 << 16];
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", file);
    int info = open(path, O_RDONLY);
    size_t length = 0;
    ssize_t count;
    while ((count = read(info, text + length, sizeof text - 1 - length)) > 0) length += (size_t)count;
    close(info);
    text[length] = 0;
    int locks = 0;
    for (char *line = strstr(text, "\nlock:"); line; line = strstr(line + 1, "\nlock:")) locks++;
    char *at = strstr(text, "\ncount:");
    printf("SEEN %s: %d locks, count: %s\n", when, locks,
           !at ? "nowhere" : at - text < 128 ? "in the first 128 bytes" : at - text > 10000 ? "beyond byte 10000" : "between");
}

int main(void) {
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
    struct dma_heap_allocation_data data = {.len = 4096, .fd_flags = O_RDWR | O_CLOEXEC};
    if (heap < 0 || ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) != 0) perror("the system heap");
    int buffer = (int)data.fd;
    tell("new", buffer);
    pid_t child = fork();
    if (child == 0) {
        if (flock(buffer, LOCK_EX) != 0) perror("flock");
        for (off_t at = 0; at < 400; at += 2)
            if (lock(buffer, F_WRLCK, at << 20) != 0) perror("F_OFD_SETLK");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    tell("another holder locked and ended", buffer);
    flock(buffer, LOCK_UN);
    tell("LOCK_UN here", buffer);
    lock(buffer, F_UNLCK, 0);
    tell("F_UNLCK here", buffer);
    fflush(stdout);
    reboot(RB_POWER_OFF);
}
C
mkdir root
gcc -static -O1 -Wall -D_GNU_SOURCE -o root/init init.c
(cd root && echo init | cpio -o -H newc --quiet) > initramfs
timeout 600 qemu-system-x86_64 -m 512M -nodefaults -display none -nic none -no-reboot -serial file:console \
  -kernel image/boot/vmlinuz-* -initrd initramfs -append "console=ttyS0 quiet panic=-1"
sed -nE 's/\r$//; s/^.*SEEN //p' console > seen
cat > expected <<'TEXT'
new: 0 locks, count: in the first 128 bytes
another holder locked and ended: 201 locks, count: beyond byte 10000
LOCK_UN here: 200 locks, count: beyond byte 10000
F_UNLCK here: 0 locks, count: in the first 128 bytes
TEXT
cat seen
diff expected seen && echo "as recorded: $package $version" || { tail -n 20 console && exit 1; }
