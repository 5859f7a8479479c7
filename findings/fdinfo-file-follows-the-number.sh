#!/usr/bin/env bash
# Linux 6.12.117-1~deb12u1 (Debian's linux-image-6.12.117+deb12-amd64): an open file of /proc/self/fdinfo, and dma-bufs of the
# system heap.
#
# Seen: the open file is bound to the number N in its path and not to what had that number when it was opened. Each pread tells
# of whatever has the number then: after dup2 of another buffer onto N, of that buffer; after close, ENOENT; and once the number
# is given out again, of the new buffer, as if nothing had happened.
#
# A good engineer would guess: an open file stays with what it was opened for, as a descriptor opened through /proc/self/fd/N
# does, and is dead once that is closed.
#
# It matters to whoever watches a dma-buf's "count:" and keeps the fdinfo file open, for one system call a look in place of
# three: numbers are given out again at once, so the count can be another buffer's. Compare "ino:" in each text with the
# buffer's own inode.
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
// The first process of the guest: says what each pread tells, and switches the machine off.
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static int buffer(int heap, const char *name) {
    struct dma_heap_allocation_data data = {.len = 4096, .fd_flags = O_RDWR | O_CLOEXEC};
    if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) != 0) perror("allocate");
    if (ioctl((int)data.fd, DMA_BUF_SET_NAME_B, name) != 0) perror("name");
    return (int)data.fd;
}

static void tell(const char *when, int file, int first, int second) {
    char text[1024];
    ssize_t count = pread(file, text, sizeof text - 1, 0);
    if (count < 0) {
        printf("SEEN %s: %s\n", when, strerrorname_np(errno));
        return;
    }
    text[count] = 0;
    struct stat status[2];
    fstat(first, &status[0]);
    fstat(second, &status[1]);
    char *inode = strstr(text, "ino:\t"), *name = strstr(text, "\nname:\t");
    unsigned long number = inode ? strtoul(inode + 5, NULL, 10) : 0;
    printf("SEEN %s: inode of the %s, name %.*s\n", when,
           number == status[0].st_ino ? "first" : number == status[1].st_ino ? "second" : "nobody",
           name ? (int)strcspn(name + 7, "\n") : 0, name ? name + 7 : "");
}

int main(void) {
    mkdir("/proc", 0755);
    mkdir("/dev", 0755);
    mount("proc", "/proc", "proc", 0, NULL);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
    if (heap < 0) perror("the system heap");
    int first = buffer(heap, "first"), second = buffer(heap, "second"), number = dup(first);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", number);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    tell("opened for the first", file, first, second);
    dup2(second, number);
    tell("the second put onto its number", file, first, second);
    close(number);
    tell("the number closed", file, first, second);
    dup2(second, number);
    tell("the number given to the second", file, first, second);
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
opened for the first: inode of the first, name first
the second put onto its number: inode of the second, name second
the number closed: ENOENT
the number given to the second: inode of the second, name second
TEXT
cat seen
diff expected seen && echo "as recorded: $package $version" || { tail -n 20 console && exit 1; }
