#!/usr/bin/env bash
# guest.sh KERNEL [all]: runs inside the booted kernel, in the package's folder: the tests that a kernel can change, heapctl's
# checks on every heap, and then the question whether the kernel has a dma-buf or a complaint left.
set -uo pipefail
kernel=$1 mode=${2:-}
failed=0
fail() {
  echo "kernel-test $kernel: FAILED: $*"
  failed=1
}
. Tests/Kernel/programs.sh
. Tests/Kernel/tally.sh

# Modules on the stock kernel, built in on the others.
for module in udmabuf vgem vkms vivid vim2m; do modprobe -q "$module" || true; done
udevadm settle 2>/dev/null || true
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug

# Contiguous memory besides the region. Drivers of 6.12 cannot map it.
[ "$kernel" != next ] || echo 32 > /proc/sys/vm/nr_hugepages

case $kernel in
next) LINUXHEAPS_HEAPS="system default_cma_region reserved udmabuf memfd opaque" ;;
lts) LINUXHEAPS_HEAPS="system reserved udmabuf memfd opaque" ;;
stock) LINUXHEAPS_HEAPS="system udmabuf memfd opaque" ;;
esac
# Behind heapd one heap of each kind of memory that is the kernel's own.
case $kernel in
next) LINUXHEAPS_SERVED_HEAPS="system default_cma_region" ;;
lts) LINUXHEAPS_SERVED_HEAPS="reserved" ;;
stock) LINUXHEAPS_SERVED_HEAPS="udmabuf" ;;
esac
export LINUXHEAPS_HEAPS LINUXHEAPS_SERVED_HEAPS SWIFT_BACKTRACE=enable=no

# The tests that a kernel can change and those of a vendor's heap, with storms of a tenth, without the heaps' checks, which
# `heapctl verify` makes below. With `all` whole storms, and on `next` the other tests too, but those of a browser, which
# takes minutes to start here.
tests='^(KernelTests|VendorHeapTests)[.]' elsewhere_tests='EveryHeapTests/passes'
if [ "$mode" = all ]; then
  elsewhere_tests='^$'
  [ "$kernel" != next ] || tests='^(KernelTests|VendorHeapTests|HeapctlTests|HeapServiceTests)[.]'
else
  export LINUXHEAPS_STORM_SHARE=10
fi

log=$(mktemp)
echo "== $kernel: $(uname -r), test bundle"
# Suites of ten seconds and more are told as they end: that is where the time goes, and where it stops.
"$build/linux-heapsPackageTests.xctest" --testing-library swift-testing --no-parallel --filter "$tests" --skip "$elsewhere_tests" 2>&1 |
  sed -u 's/\x1b\[[0-9;]*m//g' | tee "$log" |
  grep --line-buffered -E '^✘|^➜|^↳ [^TP]|recorded an issue|^✔ Test run|Fatal error|^✔ Suite .* after [0-9]{2,}[.]'
[ "${PIPESTATUS[0]}" = 0 ] || fail "the test bundle"
grep -q '^✔ Test run' "$log" || tail -n 30 "$log"
# iterator.sh has a kernel with BTF.
elsewhere="a browser runs outside the test kernels|needs the kernel's iterator of dma-bufs|needs a kernel with BTF|needs userfaultfd|needs access control lists in the temporary folder"
if [ "$kernel" = next ] && grep -E '^➜ ' "$log" | grep -vE "$elsewhere"; then
  fail "a test skipped"
fi

echo "== $kernel: heapctl, verb by verb"
Tests/Kernel/smoke.sh "$build/heapctl" > "$log" 2>&1 || fail "heapctl, verb by verb"
grep -v '^pass' "$log"

echo "== $kernel: heapctl verify"
"$build/heapctl" verify > "$log" 2>&1 || fail "heapctl verify"
grep -v '^pass\|^ ' "$log"
tally "$kernel" "$(getconf PAGESIZE)" "$log"
if [ "$kernel" = next ]; then
  if grep -q '^skip' "$log"; then fail "a check skipped"; fi
  # The camera that proves contiguity, by what it did.
  answer() { awk -v heap="$1" '/^[a-z]/ {on = $2 == heap && $3 == "contiguity:"; next} on' "$log"; }
  for wanted in "system refuses: it needs contiguous memory" "default_cma_region streams" "hugetlb streams"; do
    case $(answer "${wanted%% *}") in
    *"/dev/video"*"(vivid, "*") ${wanted#* }") ;;
    *) fail "contiguity on ${wanted%% *}: '$(answer "${wanted%% *}")'" ;;
    esac
  done
fi
echo "== $kernel: heapctl verify as nobody"
setpriv --reuid=65534 --regid=65534 --clear-groups "$build/heapctl" verify --heap memfd --heap opaque > "$log" 2>&1 ||
  fail "heapctl verify as nobody"
grep -v '^pass' "$log"

# The machine as it is: what a kernel lacks, and nothing else.
case $kernel in
next) causes="" ;;
lts) causes="heap.legacy-name" ;;
# Of the cameras one needs contiguous memory (boot.sh). The doctor tries it as it is set, and a small frame
# may lie in one piece by luck.
stock)
  causes="contiguous.not-built import.needs-contiguous"
  camera=$(grep -lx vivid-000-vid-cap /sys/class/video4linux/*/name)
  "$build/heapctl" camera --device "/dev/$(basename "${camera%/name}")" --frames 1 --size 1280x720 --format XR24 \
    --heap system > /dev/null 2>&1 && fail "the camera takes any memory"
  ;;
esac
echo "== $kernel: heapctl doctor"
"$build/heapctl" doctor > "$log" 2>&1 || fail "heapctl doctor: $(cat "$log")"
found=$(sed -n 's/^ *id: *//p' "$log" | xargs)
[ "$found" = "$causes" ] || fail "heapctl doctor finds '$found', not '$causes': $(cat "$log")"

echo "== $kernel: udev rules"
Tests/Kernel/udev.sh "$kernel" "$build/heapctl" > "$log" 2>&1 || fail "the udev rules"
grep -v '^pass' "$log"
"$build/heapctl" list | grep /dev/dma_heap/system

echo "== $kernel: heapctl's fixes"
python3 Tests/Kernel/fixes.py "$build/heapctl" > "$log" 2>&1 || fail "heapctl's fixes"
grep -v '^pass' "$log"

echo "== $kernel: heapctl alloc through heapd, as a user with no right on the heaps"
"$build/heapd" --socket /run/heapd-test.sock --mode 0666 > "$log.heapd" 2>&1 &
heapd=$!
for _ in $(seq 100); do [ -S /run/heapd-test.sock.observer ] && break; sleep 0.1; done
setpriv --reuid=65534 --regid=65534 --clear-groups "$build/heapctl" alloc --size 1M --socket /run/heapd-test.sock ||
  fail "heapctl alloc through heapd: $(cat "$log.heapd")"
kill "$heapd" && wait "$heapd" || fail "heapd did not stop cleanly: $(cat "$log.heapd")"

if [ "$kernel" = next ]; then
  echo "== $kernel: programs that open the heaps themselves, on the nodes and with heapd's buffers"
  Tests/Preload/guest.sh "$build" .build/preload > "$log" 2>&1 || fail "programs that open the heaps themselves"
  grep -v '^pass' "$log"
  echo "== $kernel: the C interface"
  FUZZ_CALLS=3000 Tests/Interface/test.sh "$build" .build/interface system default_cma_region udmabuf > "$log" 2>&1 || fail "the C interface: $(cat "$log")"
fi

echo "== $kernel: what is left"
tail -n 1 /sys/kernel/debug/dma_buf/bufinfo
grep -q '^Total 0 objects' /sys/kernel/debug/dma_buf/bufinfo || fail "dma-bufs are left: $(cat /sys/kernel/debug/dma_buf/bufinfo)"
if dmesg | grep -E 'BUG:|KFENCE|WARNING:|Oops|Out of memory'; then fail "the kernel complained"; fi
[ "$failed" = 0 ] && echo "kernel-test $kernel: passed"
exit "$failed"
