#!/usr/bin/env bash
# udmabuf of Linux 6.12.117-1 (Debian 13's linux-image-6.12.117+deb13-amd64) and 7.3.4-1~bpo13+1 (trixie-backports'
# linux-image-7.3.4+deb13-amd64): a camera's frame in a udmabuf of huge pages. The camera is vivid, which writes its frames by the
# processor, through the kernel's own mapping of the dma-buf (dma_buf_vmap).
#
# Seen: the frame takes 113 pages of 4 KiB. In a udmabuf of a plain memfd all of them are new on both kernels. In one of a hugetlb
# memfd all of them are on 7.3; on 6.12 the driver is told of a whole frame as well, but 112 of the 113 pages have what was there
# before: every page was written over the first one. QBUF and DQBUF succeed, the error flag is not set, and bytesused is the frame's.
#
# A good engineer would guess: process and driver see the same memory, whatever its pages, since that is all that a dma-buf is
# for; the process's mapping is right, and so is what a device gets that does the access itself (the scatter list). But
# vmap_udmabuf of 6.12 takes the first page of each page's folio, without its offset in it (drivers/dma-buf/udmabuf.c; mended by
# a26fd92b7223 in Linux 6.17 and 6.16.1). With plain pages the two are the same.
#
# It matters to whoever makes contiguous buffers for a camera or a display on a machine without CMA, by a udmabuf of huge pages:
# a device that does DMA gets the right pages, and software drivers (vivid, vkms, a USB camera, DisplayLink) mix up the picture
# without an error. Ask for Linux 6.17, or try it with a pattern, before a udmabuf of huge pages goes to such a driver.
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
// The first process of the guest: one frame in each kind of udmabuf.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20, PAGE = 4096, BEFORE = 0xA5 };

static int failed(const char *call) {
    printf("SEEN %s: %s\n", call, strerror(errno));
    return -1;
}

static int frame(const char *pages, unsigned flags) {
    int memory = memfd_create("frame", MFD_ALLOW_SEALING | flags);
    if (memory < 0 || ftruncate(memory, HUGE_PAGE) < 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) < 0) return failed("memfd");
    int device = open("/dev/udmabuf", O_RDWR);
    struct udmabuf_create create = {.memfd = memory, .size = HUGE_PAGE};
    int buffer = ioctl(device, UDMABUF_CREATE, &create);
    if (buffer < 0) return failed("UDMABUF_CREATE");
    unsigned char *bytes = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buffer, 0);
    if (bytes == MAP_FAILED) return failed("mmap");
    memset(bytes, BEFORE, HUGE_PAGE);

    int camera = open("/dev/video0", O_RDWR);
    struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
    if (camera < 0 || ioctl(camera, VIDIOC_G_FMT, &format) < 0) return failed("VIDIOC_G_FMT");
    format.fmt.pix.width = 640, format.fmt.pix.height = 360, format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
    if (ioctl(camera, VIDIOC_S_FMT, &format) < 0) return failed("VIDIOC_S_FMT");
    struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
    if (ioctl(camera, VIDIOC_REQBUFS, &request) < 0) return failed("VIDIOC_REQBUFS");
    for (unsigned index = 0; index < request.count; index++) {
        struct v4l2_buffer queued = {
            .index = index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF, .m.fd = buffer, .length = HUGE_PAGE};
        if (ioctl(camera, VIDIOC_QBUF, &queued) < 0) return failed("VIDIOC_QBUF");
    }
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (ioctl(camera, VIDIOC_STREAMON, &type) < 0) return failed("VIDIOC_STREAMON");
    struct v4l2_buffer done = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_DMABUF};
    if (ioctl(camera, VIDIOC_DQBUF, &done) < 0) return failed("VIDIOC_DQBUF");

    unsigned all = (done.bytesused + PAGE - 1) / PAGE, same = 0;
    for (unsigned page = 0; page < all; page++) {
        unsigned offset = 0;
        while (offset < PAGE && bytes[page * PAGE + offset] == BEFORE) offset++;
        same += offset == PAGE;
    }
    printf("SEEN %s: %u bytes of %u, error flag %d, %u of %u pages as before\n", pages, done.bytesused, format.fmt.pix.sizeimage,
           (done.flags & V4L2_BUF_FLAG_ERROR) != 0, same, all);
    close(camera), close(device), close(memory);
    return 0;
}

int main(void) {
    mount("dev", "/dev", "devtmpfs", 0, NULL);
    char path[64];
    for (int number = 10, module; number < 100; number++) {
        snprintf(path, sizeof path, "/modules/%d.ko", number);
        module = open(path, O_RDONLY);
        if (module < 0) break;
        // vivid: one camera, and nothing else. It takes memory of any kind.
        if (syscall(SYS_finit_module, module, "", 0) < 0 && errno != EEXIST) printf("SEEN %s: %s\n", path, strerror(errno));
    }
    frame("plain pages", 0);
    frame("huge pages", MFD_HUGETLB);
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
  modprobe --dirname root --set-version "$release" --show-depends vivid | sed -n 's/^insmod \([^ ]*\).*/\1/p' > modules
  while read -r module; do
    case $module in *.xz) xz -dc "$module" ;; *) cat "$module" ;; esac > "$folder/modules/$number.ko"
    number=$((number + 1))
  done < modules
  (cd "$folder" && find . | cpio -o -H newc --quiet) > initramfs
  timeout 600 qemu-system-x86_64 -m 1G -nodefaults -display none -nic none -no-reboot -serial file:console \
    -kernel "vmlinuz-$1" -initrd initramfs -append "console=ttyS0 quiet panic=-1 no_timer_check hugepages=4" < /dev/null
  sed -nE "s/\r\$//; s/^.*SEEN /${2%%+*}: /p" console | tee -a seen
}
boot old "$old"
boot new "$new"
whole="460800 bytes of 460800, error flag 0"
cat > expected <<TEXT
linux-image-6.12.117: plain pages: $whole, 0 of 113 pages as before
linux-image-6.12.117: huge pages: $whole, 112 of 113 pages as before
linux-image-7.3.4: plain pages: $whole, 0 of 113 pages as before
linux-image-7.3.4: huge pages: $whole, 0 of 113 pages as before
TEXT
diff expected seen && echo "as recorded: $old, $new" || { tail -n 20 console && exit 1; }
