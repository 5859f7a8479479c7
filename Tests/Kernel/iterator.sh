#!/usr/bin/env bash
# Runs inside stock-next, in the package's folder, as root: Debian's newest kernel as it is has BTF, which the kernels
# built here lack, and with it BPF: the iterator of dma-bufs, and the program that hears their closes. heapctl holders with
# debugfs and without (iterator.py), heapctl verify on its heaps, and on the system heap behind heapd with events on and
# off, and the tests of both. With LINUXHEAPS_MEASURE in the environment what the latter costs is printed, too.
set -uo pipefail
failed=0
fail() {
  echo "iterator: FAILED: $*"
  failed=1
}
. Tests/Kernel/programs.sh
. Tests/Kernel/tally.sh

# The heap and udmabuf are built in.
for module in vgem vivid; do modprobe "$module" || fail "no $module"; done
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
udevadm settle 2>/dev/null || true
export LINUXHEAPS_HEAPS="system udmabuf memfd opaque" SWIFT_BACKTRACE=enable=no
log=$(mktemp)

echo "== stock-next: $(uname -r), heapctl holders"
/usr/bin/python3 Tests/Kernel/iterator.py "$build/heapctl" || fail "heapctl holders"

echo "== stock-next: heapctl verify"
"$build/heapctl" verify > "$log" 2>&1 || fail "heapctl verify"
grep -v '^pass' "$log"
tally stock-next "$(getconf PAGESIZE)" "$log"

# Debian's kernel has no contiguous heap, and huge pages: the doctor's fix reserves some.
echo "== stock-next: contiguous memory of huge pages"
finding() { "$build/heapctl" doctor --json | /usr/bin/python3 -c 'import json, sys
for f in json.load(sys.stdin)["doctor"]["findings"]:
  if f["area"] == "contiguous": print(f["id"], f.get("fix", ""))'; }
"$build/heapctl" alloc --contiguous --size 1M > "$log" 2>&1 && fail "contiguous memory before any is there: $(cat "$log")"
fix=$(finding | sed -n 's/^contiguous.not-built //p; s/^contiguous.no-region //p')
eval "${fix//sudo /}" > "$log" || fail "the doctor's fix: $fix"
[ "$(finding)" = "contiguous.huge-pages " ] || fail "after '$fix' the doctor finds $(finding)"
"$build/heapctl" alloc --contiguous --size 1M --json | grep -q hugetlb || fail "heapctl alloc --contiguous"
"$build/heapctl" list | grep hugetlb
"$build/heapctl" verify --heap hugetlb > "$log" 2>&1 || fail "heapctl verify --heap hugetlb"
grep -v '^pass' "$log"
grep -A1 'hugetlb *contiguity:' "$log" | grep -q '(vivid, .*) streams' || fail "no camera streams into huge pages: $(cat "$log")"
tally stock-next "$(getconf PAGESIZE)" "$log"
camera=$(grep -lx vivid-000-vid-cap /sys/class/video4linux/*/name)
camera=/dev/$(basename "${camera%/name}")
for heap in "hugetlb --contiguous" udmabuf; do
  "$build/heapctl" camera --device "$camera" --frames 30 --size 640x480 --format XR24 --heap ${heap% *} > "$log" 2>&1
  [ $? = 0 ] && streams=yes || streams=no
  echo "vivid allocators=1, 640x480 XR24, $heap: $streams: $(tail -n 1 "$log")"
  case $heap:$streams in
  hugetlb*:yes | udmabuf:no) ;;
  *) fail "a camera that takes contiguous memory alone, $heap: $(cat "$log")" ;;
  esac
done
stress() { "$build/heapctl" stress --seed 3 --steps 300 "$@" > "$log" 2>&1 || fail "heapctl stress $*: $(cat "$log")"; }
for heap in $LINUXHEAPS_HEAPS hugetlb; do stress --heap "$heap"; done

for events in on off; do
  echo "== stock-next: heapctl verify through heapd, events = $events"
  echo "events = $events" > "$build/heapd.conf"
  "$build/heapd" --socket "$build/heapd.sock" --heap system --config "$build/heapd.conf" --log-level info > "$log.heapd" 2>&1 &
  heapd=$!
  for _ in $(seq 100); do [ -S "$build/heapd.sock.observer" ] && break; sleep 0.1; done
  "$build/heapctl" verify --socket "$build/heapd.sock" > "$log" 2>&1 || fail "heapctl verify, events = $events"
  grep -v '^pass' "$log"
  tally stock-next "$(getconf PAGESIZE)" "$log"
  # Debian's kernel has no CONFIG_SW_SYNC.
  if grep '^skip' "$log" | grep -v ' device-fences: '; then fail "a check skipped, events = $events"; fi
  kill "$heapd" && wait "$heapd" || fail "heapd did not stop cleanly: $(cat "$log.heapd")"
  # It hears where the programs were loaded, and attached when a buffer came.
  hears=off
  if grep -q "the kernel tells of dma-bufs' closes" "$log.heapd" &&
    ! grep 'closes of dma-bufs are not heard' "$log.heapd"; then hears=on; fi
  [ "$hears" = "$events" ] || fail "events = $events, but hearing is $hears: $(cat "$log.heapd")"
done

echo "== stock-next: BPF's tests"
"$build/linux-heapsPackageTests.xctest" --testing-library swift-testing --no-parallel \
  --filter '[.](BTF|BufferIterator|BufferList|DMABufCloses|Growing|HeardClose|Holders|HugeHeap|Leak|PooledHeap|ServedCloses|ServedPool|UDMABufPage)Tests' > "$log" 2>&1 || fail "the tests"
grep -E 'us p|ns p|, not heard|^✘|^➜|^↳ [^TP]|recorded an issue|^✔ Test run|Fatal error' "$log"
grep -q '^✔ Test run' "$log" || tail -n 30 "$log"
if grep '^➜ ' "$log" | grep -vE 'measures, on request|needs CONFIG_SW_SYNC'; then fail "a test skipped"; fi

bufinfo=/sys/kernel/debug/dma_buf/bufinfo
grep -q '^Total 0 objects' "$bufinfo" || fail "dma-bufs are left: $(cat "$bufinfo")"
if dmesg | grep -E 'BUG:|WARNING:|Oops|Out of memory'; then fail "the kernel complained"; fi
[ "$failed" = 0 ] && echo "iterator: passed"
exit "$failed"
