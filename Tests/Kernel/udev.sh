#!/usr/bin/env bash
# udev.sh KERNEL HEAPCTL: runs inside a booted kernel, as root: the rules of /udev under its udevd.
# Ends with 1 where a node, a link, a group or a mode is not what it should be.
set -uo pipefail
kernel=$1 heapctl=$2
failed=0
. Tests/Kernel/doctor.sh
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
cp udev/00-linux-heaps.rules /run/udev/rules.d/
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
  sed '/"reserved"/d' udev/00-linux-heaps.rules > /run/udev/rules.d/00-linux-heaps.rules
  rules change
  expect "the only region is contiguous by any name" "$(links)" "$all"
  [ "$failed" = 0 ] || { ls /sys/kernel/mm/cma; udevadm test --action=change /sys/class/dma_heap/reserved 2>&1; }
fi

# The file for single-user boards does nothing as it is, and what it says once the last line is on.
cp udev/00-linux-heaps.rules udev/61-linux-heaps-video.rules /run/udev/rules.d/
rules change
expect "61 as it is" "$(stat -c %G:%a /dev/dma_heap/system)" dmaheap:660
sed -i '$s/^#//' /run/udev/rules.d/61-linux-heaps-video.rules
rules change
expect "61 switched on" "$(stat -c %G:%a /dev/dma_heap/system)" video:660
rm /run/udev/rules.d/61-linux-heaps-video.rules
rules change
expect "the links are as before" "$(links)" "$all"

# What a distribution gives stays, whatever its file is called: group, mode and links (raspberrypi-sys-mods, meta-qcom).
state() { echo "$(stat -c %G:%a "/dev/dma_heap/$1") $(readlink /dev/dma_heap/vidbuf_cached)"; }
for theirs in 60-dma-heap 20-heaps 99-dma-heap; do
  cat > "/run/udev/rules.d/$theirs.rules" << 'EOF'
ACTION=="add", SUBSYSTEM=="dma_heap", KERNEL=="system", GROUP="video", MODE="0640"
SUBSYSTEM=="dma_heap", KERNEL=="system", SYMLINK+="dma_heap/vidbuf_cached"
EOF
  rules
  expect "group and link of $theirs.rules stay" "$(state system)" "video:640 system"
  [ -z "$contiguous" ] || expect "what $theirs.rules leaves out has our group" "$(state "$contiguous")" "dmaheap:660 system"
  expect "and our links" "$(links)" "$all"
  [ "$theirs" = 60-dma-heap ] || rm "/run/udev/rules.d/$theirs.rules"
done

# A file of the same name in /etc hides the distribution's: the doctor says so, and its fix brings back what was lost.
mkdir -p /etc/udev/rules.d
shim=$(mktemp -d)
printf '#!/bin/sh\nexec "$@"\n' > "$shim/sudo"
chmod 755 "$shim" "$shim/sudo"
# carry_out ID: does what doctor tells who is to allocate, and has udevd know of it (udev-rules.sh).
who=()
carry_out() {
  local command
  command=$(fix "$1" "${who[@]}" "$heapctl")
  echo "  $1: $command"
  PATH=$shim:$PATH timeout 60 sh -c "$command" > /dev/null
  rules
  expect "$1 is gone" "$(fix "$1" "${who[@]}" "$heapctl")" ""
}
for mine in 'SUBSYSTEM=="dma_heap", GROUP="dmaheap"' ''; do
  [ -n "$mine" ] && echo "$mine" > /etc/udev/rules.d/60-dma-heap.rules || ln -s /dev/null /etc/udev/rules.d/60-dma-heap.rules
  rm /dev/dma_heap/vidbuf_cached
  rules
  expect "the rules are hidden" "$(readlink /dev/dma_heap/vidbuf_cached)" ""
  carry_out udev.hidden-rule
  expect "group and link are back" "$(state system)" "video:640 system"
  rm -f /etc/udev/rules.d/60-dma-heap*
done
rm /run/udev/rules.d/60-dma-heap.rules

# Of other rules' causes too. No rule at all; a rule that came late; a group that is none.
rm /run/udev/rules.d/00-linux-heaps.rules
rules
chown root:root /dev/dma_heap/*
chmod 600 /dev/dma_heap/*
carry_out udev.none
expect "a rule was made" "$(stat -c %G:%a /dev/dma_heap/system)" dmaheap:660
rm /etc/udev/rules.d/00-linux-heaps-local.rules
chown root:root /dev/dma_heap/*
chmod 600 /dev/dma_heap/*
who=(setpriv --reuid=65534 --regid=65534 --init-groups)
carry_out udev.no-rule
"${who[@]}" "$heapctl" alloc --size 1M --heap system > /dev/null 2>&1
expect "who was shut out allocates" "$?" 0
who=()
rm /etc/udev/rules.d/00-linux-heaps-local.rules
echo 'SUBSYSTEM=="dma_heap", GROUP="dmaheap", MODE="0600"' > /run/udev/rules.d/50-board.rules
rules
who=(setpriv --reuid=65534 --regid=65534 --init-groups)
carry_out heap.wrong-mode
who=()
expect "the rule that keeps the group out is overruled" "$(stat -c %G:%a /dev/dma_heap/system)" dmaheap:660
rm /run/udev/rules.d/50-board.rules /etc/udev/rules.d/zz-linux-heaps-local.rules
echo 'SUBSYSTEM=="dma_heap", GROUP="dmaheap", MODE="0666"' > /run/udev/rules.d/50-board.rules
rules
carry_out heap.open-to-all
expect "the rule that lets everybody in is overruled" "$(stat -c %G:%a /dev/dma_heap/system)" dmaheap:660
rm /run/udev/rules.d/50-board.rules /etc/udev/rules.d/zz-linux-heaps-local.rules
gpasswd --delete nobody dmaheap > /dev/null
if [ -n "$contiguous" ]; then
  echo 'SUBSYSTEM=="dma_heap", KERNEL=="system", GROUP="dmaheap"' > /run/udev/rules.d/50-board.rules
  chown root:root /dev/dma_heap/*
  chmod 600 /dev/dma_heap/*
  rules
  carry_out udev.partial
  expect "the other heaps have the rule's group" "$(stat -c %G:%a "/dev/dma_heap/$contiguous")" dmaheap:660
  rm /run/udev/rules.d/50-board.rules /etc/udev/rules.d/00-linux-heaps-local.rules
fi
cp udev/00-linux-heaps.rules /run/udev/rules.d/
chown root:root /dev/dma_heap/*
chmod 600 /dev/dma_heap/*
carry_out udev.rule-not-applied
expect "the rule was applied" "$(stat -c %G:%a /dev/dma_heap/system)" dmaheap:660
echo 'SUBSYSTEM=="dma_heap", GROUP="boardheaps"' > /run/udev/rules.d/50-board.rules
rules
carry_out udev.rule-not-applied
expect "the group was made" "$(stat -c %G:%a /dev/dma_heap/system)" boardheaps:660
rm /run/udev/rules.d/50-board.rules
rules

# A node of another device's number is made anew, for those who had it.
rm /dev/dma_heap/system
mknod -m 660 /dev/dma_heap/system c 1 3
carry_out heap.wrong-device
numbers=$(tr : ' ' < /sys/class/dma_heap/system/dev)
expect "the node is back" "$(stat -c %t:%T:%G:%a /dev/dma_heap/system)" "$(printf %x:%x:dmaheap:660 $numbers)"
expect "and the links" "$(links)" "$all"

# One that is gone, and all of them.
rm /dev/dma_heap/system
carry_out heap.node-missing
expect "the node is there" "$(stat -c %t:%T:%G:%a /dev/dma_heap/system)" "$(printf %x:%x:dmaheap:660 $numbers)"
rm -r /dev/dma_heap
carry_out heap.node-missing
for heap in $heaps; do
  expect "$heap is there" "$(stat -c %U:%G:%a "/dev/dma_heap/$heap")" root:dmaheap:660
done
expect "and their directory" "$(stat -c %U:%G:%a /dev/dma_heap)" root:root:755
expect "and all links" "$(links)" "$all"
rm -r "$shim"

# Who may.
as() { setpriv --reuid=65534 --regid=65534 "$@" "$heapctl" alloc --size 1M --heap system 2>&1; }
as --groups "$(getent group dmaheap | cut -d: -f3)" > /dev/null
expect "a member of dmaheap allocates" "$?" 0
as --clear-groups > /dev/null
expect "another user does not" "$?" 77
exit "$failed"
