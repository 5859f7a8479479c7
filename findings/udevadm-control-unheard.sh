#!/usr/bin/env bash
# udev 252.39-1~deb12u2 (Debian 12) on Linux 6.12.117-1~deb12u1 (linux-image-6.12.117+deb12-amd64): `udevadm control --reload`.
#
# Seen: where udevd is interrupted between accept4 and setsockopt(SO_PASSCRED) on the new connection and the message comes in
# that moment, the kernel says that user 65534 (nobody) with pid 0 sent it. udevd takes it for a stranger's and ignores it, and
# udevadm, run by root, ends with 0 all the same: rules that were just installed do not hold for the `udevadm trigger` that
# follows. A message that comes before accept4, or after setsockopt, has root's credentials and is heard: the kernel adds them
# for a socket that nobody has accepted yet, and for one that asks for them (unix(7)).
#
# A good engineer would guess: exit status 0 says that udevd has its new rules; and credentials, which the kernel vouches for,
# are either the sender's or not there at all.
#
# It matters to whoever installs rules for /dev/dma_heap, /dev/udmabuf or cameras and triggers at once: in a guest with one
# emulated processor 1 reload in 20 was lost. udevd looks at its rules by itself with the first event after 3 seconds, so to
# wait that long is certain. A service of one's own sets SO_PASSCRED on the listening socket, which its connections inherit.
#
# Here strace holds the two programs, so that it happens each time: udevd for a second before each setsockopt, udevadm for 0.3 s,
# or for 5 s, before it sends.
#
# Needs apt, mmdebstrap as root, dpkg-deb, cpio and qemu-system-x86_64.
set -euo pipefail
package=linux-image-6.12.117+deb12-amd64 version=6.12.117-1~deb12u1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download "$package=$version" > download.log 2>&1 || { cat download.log >&2 && exit 1; }
dpkg-deb -x "$package"_*.deb image
# This machine's own archive of Debian 12, wherever it is.
apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
  awk '$2 ~ /^bookworm(-updates|-security)?$/ {print "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] " $0}' |
  sort -u > sources.list
mmdebstrap --mode=root --variant=extract --include=udev=252.39-1~deb12u2,strace=6.1-0.1,busybox-static,libc-bin \
  bookworm root sources.list > mmdebstrap.log 2>&1 || { tail mmdebstrap.log >&2 && exit 1; }
rm -rf root/usr/share/{doc,man,locale,info} root/var/cache root/var/lib/apt

cat > root/init <<'SH'
#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run/udev/rules.d
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
# ask WHEN MICROSECONDS
ask() {
  strace -qq -o /dev/null -e trace=sendto -e inject=sendto:delay_enter="$2" udevadm control --reload
  echo "SEEN sent $1: udevadm ends with $?"
}
udevd=/lib/systemd/systemd-udevd
export SYSTEMD_LOG_TARGET=console SYSTEMD_LOG_LEVEL=debug
strace -f -qq -o /dev/null -e trace=setsockopt -e inject=setsockopt:delay_enter=1000000 $udevd 2> /log &
for i in $(/bin/busybox seq 60); do [ -S /run/udev/control ] && break; /bin/busybox sleep 1; done
/bin/busybox sleep 5
export SYSTEMD_LOG_LEVEL=err
ask "after setsockopt" 5000000
ask "between accept4 and setsockopt" 300000
ask "after setsockopt" 5000000
/bin/busybox sed -nE 's/^.*(Received udev control message \(RELOAD\)|Invalid sender uid [0-9]+, ignoring message).*/SEEN udevd: \1/p' /log
/bin/busybox poweroff -f
SH
chmod +x root/init
(cd root && find . | cpio -o -H newc --quiet | gzip -1) > initramfs
timeout 600 qemu-system-x86_64 -m 1G -nodefaults -display none -nic none -no-reboot -serial file:console \
  -kernel image/boot/vmlinuz-* -initrd initramfs -append "console=ttyS0 quiet panic=-1"
sed -nE 's/\r$//; s/^.*SEEN //p' console > seen
cat > expected <<'TEXT'
sent after setsockopt: udevadm ends with 0
sent between accept4 and setsockopt: udevadm ends with 0
sent after setsockopt: udevadm ends with 0
udevd: Received udev control message (RELOAD)
udevd: Invalid sender uid 65534, ignoring message
udevd: Received udev control message (RELOAD)
TEXT
cat seen
diff expected seen && echo "as recorded: udev 252.39-1~deb12u2, $package $version" || { tail -n 20 console && exit 1; }
