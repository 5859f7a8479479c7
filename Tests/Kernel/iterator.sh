#!/usr/bin/env bash
# Runs inside stock-next, in the package's folder, as root: Debian's newest kernel as it is has BTF and the BPF
# iterator of dma-bufs, which the kernels built here lack. heapctl holders with debugfs and without (iterator.py),
# heapctl verify on the system heap, and the iterator's tests.
set -uo pipefail
failed=0
fail() {
  echo "iterator: FAILED: $*"
  failed=1
}
. Tests/Kernel/programs.sh

# The heap and udmabuf are built in.
modprobe vgem || fail "no vgem"
udevadm settle 2>/dev/null || true
export LINUXHEAPS_HEAPS="system udmabuf memfd opaque" SWIFT_BACKTRACE=enable=no
log=$(mktemp)

echo "== stock-next: $(uname -r), heapctl holders"
/usr/bin/python3 Tests/Kernel/iterator.py "$build/heapctl" || fail "heapctl holders"

echo "== stock-next: heapctl verify --heap system"
"$build/heapctl" verify --heap system > "$log" 2>&1 || fail "heapctl verify"
grep -v '^pass' "$log"

echo "== stock-next: the iterator's tests"
"$build/linux-heapsPackageTests.xctest" --testing-library swift-testing --no-parallel \
  --filter '[.](BTF|BufferIterator|BufferList|Holders)Tests' > "$log" 2>&1 || fail "the tests"
grep -E '^✘|^➜|^↳ [^TP]|recorded an issue|^✔ Test run|Fatal error' "$log"
grep -q '^✔ Test run' "$log" || tail -n 30 "$log"
if grep -q '^➜ ' "$log"; then fail "a test skipped"; fi

bufinfo=/sys/kernel/debug/dma_buf/bufinfo
grep -q '^Total 0 objects' "$bufinfo" || fail "dma-bufs are left: $(cat "$bufinfo")"
if dmesg | grep -E 'BUG:|WARNING:|Oops|Out of memory'; then fail "the kernel complained"; fi
[ "$failed" = 0 ] && echo "iterator: passed"
exit "$failed"
