#!/usr/bin/env bash
# Runs inside stock-next, in the package's folder, as root: Debian's newest kernel as it is has BTF and the BPF
# iterator of dma-bufs, which the kernels built here lack. heapctl holders with debugfs and without, the iterator's
# tests, and heapctl verify on the system heap.
set -uo pipefail
build=${LINUXHEAPS_BUILD:-.build-guest/release}
failed=0
fail() {
  echo "iterator: FAILED: $*"
  failed=1
}

for module in system_heap udmabuf vgem; do modprobe -q "$module" || true; done
udevadm settle 2>/dev/null || true
mountpoint -q /sys/kernel/debug || mount -t debugfs debugfs /sys/kernel/debug
export LINUXHEAPS_HEAPS="system udmabuf memfd opaque" SWIFT_BACKTRACE=enable=no
work=$(mktemp -d)

echo "== stock-next: $(uname -r), the iterator's tests"
"$build/linux-heapsPackageTests.xctest" --testing-library swift-testing --no-parallel \
  --filter '[.](BTF|BufferIterator|BufferList|Holders)Tests' > "$work/log" 2>&1 || fail "the tests"
grep -E '^✘|^➜|recorded an issue|^✔ Test run|Fatal error' "$work/log"
grep -q '^✔ Test run' "$work/log" || tail -n 30 "$work/log"
if grep -q '^➜ ' "$work/log"; then fail "a test skipped"; fi

echo "== stock-next: heapctl holders"
mkfifo "$work/end"
"$build/heapctl" alloc --size 1M --heap system --json --hold < "$work/end" > "$work/buffer" 2> "$work/held" &
holder=$!
exec 9> "$work/end"
until grep -q 'held by' "$work/held"; do
  kill -0 "$holder" 2> /dev/null || { fail "heapctl alloc: $(cat "$work/held")" && break; }
  sleep 0.2
done
"$build/heapctl" holders --json > "$work/debugfs" || fail "heapctl holders with debugfs"
umount /sys/kernel/debug/tracing 2> /dev/null
umount /sys/kernel/debug || fail "debugfs stays mounted"
"$build/heapctl" holders --json > "$work/bpf" || fail "heapctl holders without debugfs"
"$build/heapctl" holders
mount -t debugfs debugfs /sys/kernel/debug
python3 - "$work" << 'CHECK' || fail "the two lists"
import json, sys
read = lambda name: json.load(open(f"{sys.argv[1]}/{name}"))
buffer = read("buffer")["buffer"]
reports = {name: read(name)["holders"] for name in ("debugfs", "bpf")}
for name, report in reports.items():
    assert set(report["unseen"]) == {"processes"}, report["unseen"]
    for each in report["buffers"]:
        if each["kind"] == "dma-buf":
            assert each["foundIn"] == ["proc", name], each
            each["foundIn"] = None
            each["devices"] = None
ours = [b for b in reports["bpf"]["buffers"] if b["inode"] == buffer["inode"]]
assert len(ours) == 1 and ours[0]["referenceCount"] == 2 and ours[0]["heap"] == "system", ours
assert ours[0]["name"] == buffer["name"] and ours[0]["sizeBytes"] == 1 << 20, ours
assert reports["debugfs"]["buffers"] == reports["bpf"]["buffers"], reports
print(f"the same {len(reports['bpf']['buffers'])} buffers by debugfs and by the iterator")
CHECK
exec 9>&-
wait "$holder" || fail "heapctl alloc"

echo "== stock-next: heapctl verify --heap system"
"$build/heapctl" verify --heap system > "$work/log" 2>&1 || fail "heapctl verify"
grep -v '^pass' "$work/log"
grep -q '^Total 0 objects' /sys/kernel/debug/dma_buf/bufinfo || fail "dma-bufs are left: $(cat /sys/kernel/debug/dma_buf/bufinfo)"
if dmesg | grep -E 'BUG:|WARNING:|Oops|Out of memory'; then fail "the kernel complained"; fi
[ "$failed" = 0 ] && echo "iterator: passed"
exit "$failed"
