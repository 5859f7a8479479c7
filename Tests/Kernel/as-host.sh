#!/usr/bin/env bash
# as-host.sh COMMAND...: runs inside a booted kernel, as root: the command over the same files, without the mark of the container whose
# files they may be (/.dockerenv). The guest is none, and its root cannot be written to.
set -euo pipefail
[ -e /.dockerenv ] || exec "$@"
if [ "$1" != --inside ]; then exec unshare --mount "$0" --inside "$PWD" "$@"; fi
folder=$2
shift 2
root=$(mktemp -d)
mount -t tmpfs -o mode=755 none "$root"
for entry in /*; do
  if [ -L "$entry" ]; then
    cp -d "$entry" "$root"
  elif [ -d "$entry" ]; then
    mkdir "$root$entry"
    mount --rbind "$entry" "$root$entry"
  fi
done
# Not by chroot(2), in which there are no user namespaces.
cd "$root"
pivot_root . .
umount --lazy .
cd "$folder"
# It is none for udevadm(8) either, which compares its root with that of process 1.
SYSTEMD_IGNORE_CHROOT=1 exec "$@"
