#!/usr/bin/env bash
# static.sh FOLDER [stock]: boots Debian's newest kernel, or its older one, as it is with an initramfs of heapctl and
# heapd (FOLDER's, as `make static` makes them) and a small first process, and of nothing else: no shell, no library, no
# file that says who is root. Checks what heapctl says there.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
programs=$(cd "${1:?usage: static.sh FOLDER [stock]}" && pwd)
image=$("$here/image.sh" "${2:-stock-next}")
machine_options=$(qemu_machine "$image")
work=$(mktemp -d "$cache/static.XXXXXX")
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT

failed=0
fail() {
  say "FAILED: $*"
  failed=1
}
check_static "$programs"

mkdir "$work/root"
cc -static -Os -s -o "$work/root/init" "$here/static/init.c" 2> "$work/cc.log" || die "cc: $(cat "$work/cc.log")"
cp "$programs/heapctl" "$programs/heapd" "$work/root/"
cat > "$work/root/orders" << 'ORDERS'
/heapctl --version
/heapd --version
/heapctl list
/heapctl alloc --size 8M --heap system --json
/heapctl demo
/heapctl verify --heap system --heap memfd --heap opaque
/heapctl alloc --size 1M --contiguous
/heapctl doctor
/heapctl verify --heap system --format html -o /tmp/report.html
/heapctl verify --from /tmp/report.html
ORDERS
(cd "$work/root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) > "$work/initramfs"

begin=$SECONDS
say "booting $(cat "$image/release") with nothing but $(ls "$work/root" | xargs)"
timeout --kill-after=5 "${LINUXHEAPS_BOOT_LIMIT:-600}" qemu-system-x86_64 \
  $machine_options -smp "${LINUXHEAPS_PROCESSORS:-2}" -m 1G -nodefaults -display none -nic none -no-reboot \
  -kernel "$image/vmlinuz" -initrd "$work/initramfs" -append "console=ttyS0 quiet panic=-1 $guest_parameters" \
  -serial "file:$work/console" < /dev/null &
machine=$!
wait "$machine" || fail "QEMU ended with status $?"
machine=
say "the machine ran for $((SECONDS - begin)) s"
# The console is a terminal, with colours, and with progress that is erased.
tr -d '\r' < "$work/console" | sed -e 's/.*\x1b\[2K//' -e 's/\x1b\[[0-9;]*m//g' > "$work/log"

# said COMMAND STATUS LINE...: what a run ended with, and lines of it (patterns of grep -E).
said() {
  local command=$1 status=$2 text line
  shift 2
  text=$(awk -v c="== $command" '$0 == c {on = 1; next} on && /^== ended/ {print; exit} on' "$work/log")
  grep -qx "== ended with $status" <<< "$text" || fail "$command did not end with $status: $text"
  for line in "$@"; do
    grep -qE -- "$line" <<< "$text" || fail "$command did not say '$line': $text"
  done
}
said "/heapctl --version" 0 '^heapctl [0-9.]+$' '^built with Swift'
said "/heapd --version" 0 '^heapd [0-9.]+$'
# No file names user and group 0.
said "/heapctl list" 0 '^system +system +- +0600 +0:0 +yes .* /dev/dma_heap/system$' '^memfd '
said "/heapctl alloc --size 8M --heap system --json" 0 '"sizeBytes" : 8388608' '"kind" : "dma-buf"' \
  '^given back and reclaimed$'
said "/heapctl demo" 0 '^Done. Live buffers: 0.$'
said "/heapctl verify --heap system --heap memfd --heap opaque" 0 '^[0-9]+ passed, 0 failed'
said "/heapctl alloc --size 1M --contiguous" 69 'To fix it: '
# What README.md has a board engineer do.
case $(cat "$image/release") in
6.*) contiguous='the kernel was built without CONFIG_CMA' ;;
*) contiguous='no memory is set aside' ;;
esac
said "/heapctl doctor" 0 '^ok +heaps +0 may use system$' "^warning +contiguous +$contiguous" \
  '^0 broken, '
said "/heapctl verify --heap system --format html -o /tmp/report.html" 0 \
  '^[0-9]+ passed, 0 failed, .*; the report is in /tmp/report.html$'
said "/heapctl verify --from /tmp/report.html" 0 '^pass  system  zeroed: ' '^[0-9]+ passed, 0 failed'
[ "$failed" = 0 ] || { cp "$work/log" "$cache/static-console.log" && die "whole console: $cache/static-console.log"; }
say "static: passed"
