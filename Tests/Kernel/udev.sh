#!/usr/bin/env bash
# udev.sh KERNEL HEAPCTL: runs inside a booted kernel, as root: the rules of /udev under its udevd.
# Ends with 1 where a node, a link, a group or a mode is not what it should be.
set -uo pipefail
kernel=$1 heapctl=$2
failed=0
# expect WHAT SEEN EXPECTED
expect() {
  [ "$2" = "$3" ] && echo "pass  udev: $1" && return
  echo "FAIL  udev: $1: $2, not $3"
  failed=1
}
rules() { Tests/Kernel/udev-rules.sh "$@"; }
links() { (cd /dev/dma_heap-by-role 2> /dev/null && for l in *; do echo "$l=$(readlink "$l")"; done | xargs); }
# What `udevadm test` says that it would do with a heap.
tested() { udevadm test --action=add "/sys/class/dma_heap/$1" 2> /dev/null; }

[ -S /run/udev/control ] || { echo "FAIL  udev: no udevd runs here" && exit 1; }
case $kernel in
next) heaps="default_cma_region reserved system" contiguous=default_cma_region ;;
lts) heaps="reserved system" contiguous=reserved ;;
stock) heaps="system" contiguous= ;;
esac
expect "the heaps of this kernel" "$(ls /dev/dma_heap | xargs)" "$heaps"

mkdir -p /run/udev/rules.d /run/sysusers.d
cp udev/dmaheap.sysusers /run/sysusers.d/dmaheap.conf
systemd-sysusers /run/sysusers.d/dmaheap.conf
cp udev/60-dma-heap.rules /run/udev/rules.d/
rules
for heap in $heaps; do
  expect "node of $heap" "$(stat -c %U:%G:%a "/dev/dma_heap/$heap")" root:dmaheap:660
  expect "$heap is for units too" "$(udevadm info -q property --property=TAGS --value -n "/dev/dma_heap/$heap")" :systemd:
done
all="system=../dma_heap/system"
[ -z "$contiguous" ] || all="contiguous=../dma_heap/$contiguous $all"
expect "links by role" "$(links)" "$all"
expect "no link among the heaps" "$(find /dev/dma_heap -type l)" ""

# Whatever order the events of the two names come in.
for heap in $heaps $(echo "$heaps" | tac -s ' ' | xargs); do
  udevadm trigger --action=change --settle "/sys/class/dma_heap/$heap"
  expect "links after a change of $heap" "$(links)" "$all"
done

expect "udevadm test: link of the system heap" \
  "$(tested system | sed -n 's/^DEVLINKS=//p')" /dev/dma_heap-by-role/system
if [ -n "$contiguous" ]; then
  expect "udevadm test: link of $contiguous" \
    "$(tested "$contiguous" | sed -n 's/^DEVLINKS=//p')" /dev/dma_heap-by-role/contiguous
fi

# A region from the device tree has a name of its own: as if `reserved` were such a one.
if [ "$kernel" = lts ]; then
  sed '/"reserved"/d; s/|reserved|/|/' udev/60-dma-heap.rules > /run/udev/rules.d/60-dma-heap.rules
  rules change
  expect "the only region is contiguous by any name" "$(links)" "$all"
  [ "$failed" = 0 ] || { ls /sys/kernel/mm/cma; udevadm test --action=change /sys/class/dma_heap/reserved 2>&1; }
fi

# The file for single-user boards does nothing as it is, and what it says once the last line is on.
cp udev/60-dma-heap.rules udev/61-dma-heap-video.rules /run/udev/rules.d/
rules change
expect "61 as it is" "$(stat -c %G:%a /dev/dma_heap/system)" dmaheap:660
sed -i '$s/^#//' /run/udev/rules.d/61-dma-heap-video.rules
rules change
expect "61 switched on" "$(stat -c %G:%a /dev/dma_heap/system)" video:660
rm /run/udev/rules.d/61-dma-heap-video.rules
rules change
expect "the links are as before" "$(links)" "$all"

# Who may.
as() { setpriv --reuid=65534 --regid=65534 "$@" "$heapctl" alloc --size 1M --heap system 2>&1; }
as --groups "$(getent group dmaheap | cut -d: -f3)" > /dev/null
expect "a member of dmaheap allocates" "$?" 0
as --clear-groups > /dev/null
expect "another user does not" "$?" 77
exit "$failed"
