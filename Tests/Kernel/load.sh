#!/usr/bin/env bash
# load.sh: boots `next` with a virtio disk that has an ext4 file system, and loads files from it into buffers: the tests of
# FileSource with their files on that disk, and what it leaves in the page cache and how fast it is, beside read(2) into a mapping
# (load.py).
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ "${1:-}" != --inside ]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir "$work/root"
  # Not whole blocks, and less than the contiguous region has.
  head -c $(((48 << 20) + 1234)) /dev/urandom > "$work/root/data"
  PATH=$PATH:/usr/sbin mke2fs -q -t ext4 -d "$work/root" "$work/disk" 160M
  QEMU_OPTIONS="-drive file=$work/disk,format=raw,if=none,id=disk -device virtio-blk-pci,drive=disk" \
    "$here/boot.sh" next "$here/load.sh" --inside
  exit
fi

. "$here/programs.sh"
disk=$(mktemp -d)
# ext4 keeps a journal of a file's data (chattr +j) only without delayed allocation.
mount -o nodelalloc /dev/vda "$disk"
echo 32 > /proc/sys/vm/nr_hugepages
export LINUXHEAPS_HEAPS="system default_cma_region udmabuf memfd" SWIFT_BACKTRACE=enable=no
log=$(mktemp)
TMPDIR=$disk "$build/linux-heapsPackageTests.xctest" --testing-library swift-testing --no-parallel \
  --filter '[.](FileSource|PageCache)Tests' > "$log" 2>&1 || failed=1
grep -E '^✘|^➜|^↳ [^TP]|recorded an issue|^✔ Test run|Fatal error' "$log" || tail -n 30 "$log"
if [ -n "${failed:-}" ] || grep -q '^➜ ' "$log"; then die "a test failed or was skipped"; fi
/usr/bin/python3 "$here/load.py" "$build/heapctl" "$disk"
if dmesg | grep -E 'BUG:|KFENCE|WARNING:|Oops'; then die "the kernel complained"; fi
