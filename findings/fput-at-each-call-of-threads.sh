#!/usr/bin/env bash
# Linux 6.12.117-1~deb12u1 (Debian's linux-image-6.12.117+deb12-amd64): which calls on a dma-buf of the system heap come through
# fput, "give a reference to the file back", as a kprobe counts it.
#
# Seen: in a process with one thread neither ioctl(DMA_BUF_IOCTL_SYNC) nor fstat, lseek or fcntl does. Beside a second thread that
# only sleeps each of these calls does, once; when that thread has ended, none again. dup and close, which do take a reference
# and give it back, come through fput in neither case (close has a way of its own).
#
# A good engineer would guess: fput is where a holder lets go of a buffer, so what passes it depends on what a program does with
# its descriptors, and not on whether it has a thread. But a call borrows the file from the table of descriptors only while
# nobody else has the table (fdget, fs/file.c); otherwise it takes a reference for the time of the call.
#
# It matters to whoever looks for the end of a buffer, or for a leak of references, by a probe on fput: a test program with one
# thread shows next to nothing, and a compositor or a media server, all of which have threads, comes through it at nearly every
# call with a descriptor: a cost at each of them, for nothing that ended. Watch __fput, the very end of a file, instead.
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
// The first process of the guest: says how many times fput was passed, and switches the machine off.
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

static int buffer, ends[2];

static void call_ioctl(void) { ioctl(buffer, DMA_BUF_IOCTL_SYNC, &(struct dma_buf_sync){DMA_BUF_SYNC_READ}); }
static void call_fstat(void) { fstat(buffer, &(struct stat){0}); }
static void call_lseek(void) { lseek(buffer, 0, SEEK_END); }
static void call_fcntl(void) { fcntl(buffer, F_GETFL); }
static void call_dup_close(void) { close(dup(buffer)); }

// How many times fput was passed; to ask costs a few itself.
static long passed(void) {
    char name[64] = "";
    long hits = -1;
    FILE *file = fopen("/sys/kernel/tracing/kprobe_profile", "r");
    while (file && fscanf(file, "%63s %ld %*d", name, &hits) == 2) {}
    if (file) fclose(file);
    return hits;
}

static void measure(const char *when) {
    struct { const char *name; void (*call)(void); } calls[] = {
        {"ioctl", call_ioctl}, {"fstat", call_fstat}, {"lseek", call_lseek}, {"fcntl", call_fcntl},
        {"dup and close", call_dup_close},
    };
    for (int i = 0; i < 5; i++) {
        long before = passed();
        for (int j = 0; j < 1000; j++) calls[i].call();
        long times = passed() - before;
        printf("SEEN %s, %s: ", when, calls[i].name);
        if (times >= 0 && times < 10) puts("never");
        else if (times >= 1000 && times < 1010) puts("each time");
        else printf("%ld times in 1,000\n", times);
    }
}

static void put(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (write(file, text, strlen(text)) < 0) perror(path);
    close(file);
}

static void *wait_for_end(void *none) {
    char byte;
    return read(ends[0], &byte, 1) < 0 ? &ends : none;
}

int main(void) {
    mkdir("/dev", 0755);
    mkdir("/sys", 0755);
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    mount("sys", "/sys", "sysfs", 0, NULL);
    mount("tracing", "/sys/kernel/tracing", "tracefs", 0, NULL);
    put("/sys/kernel/tracing/kprobe_events", "p:passed fput");
    put("/sys/kernel/tracing/events/kprobes/passed/enable", "1");
    int heap = open("/dev/dma_heap/system", O_RDONLY | O_CLOEXEC);
    struct dma_heap_allocation_data data = {.len = 4096, .fd_flags = O_RDWR | O_CLOEXEC};
    if (ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) != 0) perror("allocate");
    buffer = (int)data.fd;

    measure("one thread");
    if (pipe(ends) != 0) perror("pipe");
    pthread_t sleeper;
    pthread_create(&sleeper, NULL, wait_for_end, NULL);
    usleep(100000);
    measure("beside a sleeping thread");
    close(ends[1]);
    pthread_join(sleeper, NULL);
    usleep(100000);
    measure("after its end");
    fflush(stdout);
    reboot(RB_POWER_OFF);
}
C
mkdir root
gcc -static -O1 -Wall -D_GNU_SOURCE -o root/init init.c
(cd root && echo init | cpio -o -H newc --quiet) > initramfs
timeout 600 qemu-system-x86_64 -m 512M -nodefaults -display none -nic none -no-reboot -serial file:console \
  -kernel image/boot/vmlinuz-* -initrd initramfs -append "console=ttyS0 quiet panic=-1 no_timer_check"
sed -nE 's/\r$//; s/^.*SEEN //p' console > seen
{
  for call in ioctl fstat lseek fcntl "dup and close"; do echo "one thread, $call: never"; done
  for call in ioctl fstat lseek fcntl; do echo "beside a sleeping thread, $call: each time"; done
  echo "beside a sleeping thread, dup and close: never"
  for call in ioctl fstat lseek fcntl "dup and close"; do echo "after its end, $call: never"; done
} > expected
cat seen
diff expected seen && echo "as recorded: $package $version" || { tail -n 20 console && exit 1; }
