#!/usr/bin/env bash
# Runs inside stock-next, in the package's folder, as root: Debian's newest kernel as it is has BTF, which the kernels
# built here lack, and with it BPF: the iterator of dma-bufs, and the program that hears their closes. heapctl holders with
# debugfs and without (iterator.py), heapctl verify on the system heap, and the tests of both. With LINUXHEAPS_MEASURE in
# the environment what the latter costs is printed, too.
set -uo pipefail
failed=0
fail() {
  echo "iterator: FAILED: $*"
  failed=1
}
. Tests/Kernel/programs.sh

# The heap and udmabuf are built in.
for module in vgem vivid; do modprobe "$module" || fail "no $module"; done
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
udevadm settle 2>/dev/null || true
export LINUXHEAPS_HEAPS="system udmabuf memfd opaque" SWIFT_BACKTRACE=enable=no
log=$(mktemp)

echo "== stock-next: $(uname -r), heapctl holders"
/usr/bin/python3 Tests/Kernel/iterator.py "$build/heapctl" || fail "heapctl holders"

echo "== stock-next: heapctl verify --heap system"
"$build/heapctl" verify --heap system > "$log" 2>&1 || fail "heapctl verify"
grep -v '^pass' "$log"

echo "== stock-next: BPF's tests"
"$build/linux-heapsPackageTests.xctest" --testing-library swift-testing --no-parallel \
  --filter '[.](BTF|BufferIterator|BufferList|DMABufCloses|HeardClose|Holders|ServedCloses)Tests' > "$log" 2>&1 || fail "the tests"
grep -E 'us p|ns p|, not heard|^✘|^➜|^↳ [^TP]|recorded an issue|^✔ Test run|Fatal error' "$log"
grep -q '^✔ Test run' "$log" || tail -n 30 "$log"
if grep '^➜ ' "$log" | grep -v 'measures, on request'; then fail "a test skipped"; fi

bufinfo=/sys/kernel/debug/dma_buf/bufinfo
grep -q '^Total 0 objects' "$bufinfo" || fail "dma-bufs are left: $(cat "$bufinfo")"
if dmesg | grep -E 'BUG:|WARNING:|Oops|Out of memory'; then fail "the kernel complained"; fi
[ "$failed" = 0 ] && echo "iterator: passed"
exit "$failed"
