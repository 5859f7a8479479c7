#!/usr/bin/env bash
# guest.sh ROOT: runs inside a booted kernel, as root: the programs of Debian sid in ROOT, on this kernel's heaps and on heapd's. Each of
# this folder's *.inside.sh runs there, with the package at /source and what compile.sh made at /build.
set -uo pipefail
root=$1 failed=0
for module in udmabuf vgem vkms vivid; do modprobe -q "$module" || true; done
udevadm settle 2> /dev/null || true
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
mount --bind "$root" "$root"
for folder in dev sys proc; do mount --rbind "/$folder" "$root/$folder"; done
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount --bind "$PWD" "$root/source"
mount --bind "$PWD/.build/applications" "$root/build"
for script in Tests/Applications/*.inside.sh; do
  name=$(basename "$script" .inside.sh)
  if chroot "$root" /usr/bin/env -i PATH=/usr/bin:/usr/sbin HOME=/tmp LANG=C.UTF-8 bash -c 'cd /source && exec "$0"' "$script"; then
    echo "pass  $name"
  else
    echo "FAIL  $name"
    failed=1
  fi
done
[ "$failed" = 0 ] && echo "applications: passed"
exit "$failed"
