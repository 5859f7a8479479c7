#!/usr/bin/env bash
# V4L2 of Linux 6.12.117-1 (Debian 13's linux-image-6.12.117+deb13-amd64) and 7.3.4-1~bpo13+1 (trixie-backports'
# linux-image-7.3.4+deb13-amd64), vivid and vgem: one camera buffer exported twice (VIDIOC_EXPBUF).
#
# Seen, on both: each export is a dma-buf of its own, with another inode and a count of its own, over the same memory: what is written
# through one is read through the other. A display takes them for two buffers (two GEM handles). A fence that was put on one is not on
# the other: poll(2) says busy of the first, and at the same moment ready of the second.
#
# A good engineer would guess: as with PRIME_HANDLE_TO_FD of DRM, which gives the same dma-buf for the same buffer, each time, so that
# the inode tells which buffer it is. videobuf2 calls dma_buf_export for each request (vb2_core_expbuf,
# drivers/media/common/videobuf2/videobuf2-core.c), and a dma-buf has its own list of fences.
#
# It matters to whoever shares a camera's buffers among processes: identity by inode counts memory twice, a cache of imports by inode
# makes another import each frame, and who waits for fences in the second export starts while the device still works on the
# first. Export once, and send duplicates of that descriptor.
#
# Needs apt, mmdebstrap as root, kmod, gcc with the static C library, cpio and qemu-system-x86_64.
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
ln -sfn usr/lib root/lib

cat > init.c <<'C'
// The first process of the guest: a camera's buffer, exported twice.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// As drm.h and vgem_drm.h have them.
struct prime { __u32 handle, flags; __s32 fd; };
struct attach { __u32 handle, flags, fence, pad; };
#define PRIME_FD_TO_HANDLE _IOWR('d', 0x2e, struct prime)
#define FENCE_ATTACH _IOWR('d', 0x41, struct attach)
enum { FENCE_WRITES = 1 };

static int failed(const char *call) {
    printf("SEEN %s: %s\n", call, strerror(errno));
    return -1;
}

static int export(int camera) {
    struct v4l2_exportbuffer request = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .flags = O_RDWR | O_CLOEXEC};
    return ioctl(camera, VIDIOC_EXPBUF, &request) < 0 ? failed("VIDIOC_EXPBUF") : request.fd;
}

static const char *state(int buffer) {
    struct pollfd entry = {.fd = buffer, .events = POLLOUT};
    return poll(&entry, 1, 0) == 1 ? "ready" : "busy";
}

static int twice(void) {
    int camera = open("/dev/video0", O_RDWR), display = open("/dev/dri/card0", O_RDWR);
    if (camera < 0 || display < 0) return failed("open");
    struct v4l2_requestbuffers request = {.count = 2, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    if (ioctl(camera, VIDIOC_REQBUFS, &request) < 0) return failed("VIDIOC_REQBUFS");

    int fds[2] = {export(camera), export(camera)};
    unsigned char *bytes[2];
    struct stat status[2];
    struct prime prime[2] = {{.fd = fds[0]}, {.fd = fds[1]}};
    for (int which = 0; which < 2; which++) {
        bytes[which] = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[which], 0);
        if (bytes[which] == MAP_FAILED || fstat(fds[which], &status[which]) < 0) return failed("mmap, fstat");
        if (ioctl(display, PRIME_FD_TO_HANDLE, &prime[which]) < 0) return failed("PRIME_FD_TO_HANDLE");
    }
    bytes[1][0] = 0;
    bytes[0][0] = 0x5A;
    struct attach attach = {.handle = prime[0].handle, .flags = FENCE_WRITES};
    if (ioctl(display, FENCE_ATTACH, &attach) < 0) return failed("VGEM_FENCE_ATTACH");
    printf("SEEN %s memory, %s inode, %s GEM handle; with a fence on the first: %s and %s\n", bytes[1][0] == 0x5A ? "the same" : "other",
           status[0].st_ino == status[1].st_ino ? "the same" : "another", prime[0].handle == prime[1].handle ? "the same" : "another",
           state(fds[0]), state(fds[1]));
    return 0;
}

int main(void) {
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    char path[64];
    for (int number = 10, module; number < 100; number++) {
        snprintf(path, sizeof path, "/modules/%d.ko", number);
        module = open(path, O_RDONLY);
        if (module < 0) break;
        if (syscall(SYS_finit_module, module, "", 0) < 0 && errno != EEXIST) printf("SEEN %s: %s\n", path, strerror(errno));
    }
    twice();
    fflush(stdout);
    reboot(RB_POWER_OFF);
}
C
gcc -static -O1 -Wall -o init init.c

# boot KERNEL PACKAGE
boot() {
  local release=${2#linux-image-} folder=initramfs-$1 number=10
  release=${release%=*}
  mkdir -p "$folder"/{dev,modules}
  cp init "$folder/"
  depmod --basedir root "$release"
  for module in vivid vgem; do
    modprobe --dirname root --set-version "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++' > modules
  while read -r module; do
    case $module in *.xz) xz -dc "$module" ;; *) cat "$module" ;; esac > "$folder/modules/$number.ko"
    number=$((number + 1))
  done < modules
  (cd "$folder" && find . | cpio -o -H newc --quiet) > initramfs
  timeout 600 qemu-system-x86_64 -m 1G -nodefaults -display none -nic none -no-reboot -serial file:console \
    -kernel "vmlinuz-$1" -initrd initramfs -append "console=ttyS0 quiet panic=-1 no_timer_check" < /dev/null
  sed -nE "s/\r\$//; s/^.*SEEN /${2%%+*}: /p" console | tee -a seen
}
boot old "$old"
boot new "$new"
seen="the same memory, another inode, another GEM handle; with a fence on the first: busy and ready"
cat > expected <<TEXT
linux-image-6.12.117: $seen
linux-image-7.3.4: $seen
TEXT
diff expected seen && echo "as recorded: $old, $new" || { tail -n 20 console && exit 1; }
