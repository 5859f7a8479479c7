#!/usr/bin/env bash
# arm64.sh arm64-4k|arm64-16k|arm64-64k|stock-arm64 [TESTS]: boots the kernel (image.sh), emulated, with the programs that
# `make static ARCH=arm64` makes, and has them tested by arm64/TESTS, which is `programs` where nothing is said. stock-arm64 is
# Debian's kernel of 4 KiB pages as it is, without the heaps that image.sh has made for it.
# QEMU_OPTIONS in the environment gives the machine more options.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kernel=${1:?usage: arm64.sh KERNEL [TESTS]}
tests=${2:-programs}
tree=$(cd "$here/../.." && pwd)
programs=$tree/.build-ship/arm64/static
if [ ! -x "$programs/heapctl" ]; then
  say "no programs for arm64: make static ARCH=arm64"
  exit 77
fi
check_static "$programs"
case $kernel in
arm64-16k) page=16384 ;;
arm64-64k) page=65536 ;;
*) page=4096 ;;
esac

# Beside the programs: a shell, setpriv, which takes a user's number, as the shell's own does not, and Python for a client of another
# hand than this package's. Of its library `mmap` alone is no part of the smallest Python.
make_userland() {
  local target=$1 python
  prepare_arm64_apt
  python=$(arm64_apt apt-cache depends python3-minimal:arm64 | sed -nE 's/^ *PreDepends: (python3\.[0-9]+)-minimal.*/\1/p')
  mkdir -p "$work/debs" "$work/userland/usr/bin" "$work/userland/usr/lib"
  ln -s usr/bin usr/lib "$work/userland/"
  (cd "$work/debs" && arm64_apt apt-get download busybox-static:arm64 libc6:arm64 zlib1g:arm64 libexpat1:arm64 \
    util-linux:arm64 libcap-ng0:arm64 {"$python-minimal","lib$python-minimal","lib$python-stdlib"}:arm64) > "$target.log" 2>&1 ||
    die "cannot download; see $target.log"
  dpkg-deb --fsys-tarfile "$work/debs/lib$python-stdlib"_* | tar -x -C "$work/userland" --wildcards '*/lib-dynload/mmap.*'
  dpkg-deb --fsys-tarfile "$work"/debs/util-linux_* | tar -x -C "$work/userland" ./usr/bin/setpriv
  rm "$work"/debs/{"lib$python-stdlib",util-linux}_*
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/userland"; done
  ln -s "$python" "$work/userland/usr/bin/python3"
  ln -s busybox "$work/userland/usr/bin/sh"
  rm -rf "$work"/userland/{etc,usr/share,usr/lib/aarch64-linux-gnu/gconv,usr/lib/systemd} "$target.log"
  mv "$work/userland" "$target"
}

image=$("$here/image.sh" "${kernel/stock-arm64/arm64-4k}")
release=$(cat "$image/release")
work=$(mktemp -d "$cache/arm64.XXXXXX")
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT
userland=$cache/arm64-userland-$(declare -f make_userland | sha256sum | cut -c1-12)
[ -d "$userland" ] || make_userland "$userland"

root=$work/root
cp -a "$userland" "$root"
mkdir "$root"/{boot,dev,proc,sys,tmp,modules}
cp "$programs/heapctl" "$programs/heapd" "$here/smoke.sh" "$here/tally.sh" "$here/arm64/init" "$root/"
cp "$here/arm64/$tests" "$root/tests"
sed -n '/^```python$/,/^```$/{/^```/!p}' "$tree/Sources/HeapProtocol/HeapProtocol.docc/WritingAClient.md" > "$root/client.py"
echo "$kernel" > "$root/kernel"
echo "$page" > "$root/pagesize"
# Two virtual cameras, as boot.sh has them: one takes any memory, and one what is contiguous alone.
cameras="n_devs=2 node_types=0x1,0x1 allocators=1,0"
echo "$cameras" > "$root/cameras"
# The order in which they are loaded is in their names. The devices that import are Debian's own modules, compressed.
number=10
add() {
  case $1 in
  *.xz) xz -dc "$1" > "$root/modules/$number-$(basename "${1%.xz}")" ;;
  *) cp "$1" "$root/modules/$number-$(basename "$1")" ;;
  esac
  number=$((number + 1))
}
# The options that the kernel was built with, where Debian's packages have them; those of the modules are written in.
config=$image/lib/modules/$release/config
if [ "$kernel" = stock-arm64 ]; then
  cp "$config" "$root/boot/config-$release"
elif [ -d "$image/heaps" ]; then
  sed 's/^# CONFIG_DMABUF_HEAPS is not set/CONFIG_DMABUF_HEAPS=y\nCONFIG_DMABUF_HEAPS_SYSTEM=m\nCONFIG_DMABUF_HEAPS_CMA=m/' "$config" \
    > "$root/boot/config-$release"
  # The frame is no module elsewhere.
  add "$image/heaps/dma-heap.ko"
  if [ "$tests" = programs ]; then
    # Installed, and loaded as the doctor says.
    install -D -m 644 -t "$root/lib/modules/$release/kernel/drivers/dma-buf/heaps" "$image"/heaps/*_heap.ko
    depmod -b "$root" "$release" 2> "$work/depmod.log"
  else
    for module in system_heap cma_heap; do add "$image/heaps/$module.ko"; done
  fi
fi
if [ -d "$image/lib" ]; then
  while read -r module; do add "$module"; done < <(modprobe --dirname="$image" --set-version="$release" --show-depends -a vgem vivid |
    sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++')
fi
if [ "$tests" = interface ]; then "$here/../Interface/arm64.sh" "$root/interface"; fi
if [ "$tests" = concurrency ]; then "$here/../Toolchains/arm64-tests.sh" "$root/bundle"; fi
# Debian's kernel of 4 KiB pages runs programs of 32 bits.
if [ "$kernel" = arm64-4k ]; then "$here/../Toolchains/armhf.sh" "$root/armhf"; fi
(cd "$root" && find . | LC_ALL=C sort | cpio -o -H newc --quiet) > "$work/initramfs"

say "booting $release: $(du -h "$work/initramfs" | cut -f1) beside the kernel"
begin=$SECONDS
timeout --kill-after=5 "${LINUXHEAPS_BOOT_LIMIT:-900}" qemu-system-aarch64 $arm64_machine ${QEMU_OPTIONS:-} \
  -kernel "$image/vmlinuz" -initrd "$work/initramfs" -serial stdio \
  -append "console=ttyAMA0 quiet panic=-1 rdinit=/init $(printf 'vivid.%s ' $cameras)${LINUXHEAPS_APPEND:-}" < /dev/null > >(sed -u 's/\r$//' | tee "$work/console") &
machine=$!
wait "$machine" || say "QEMU ended with status $?"
machine=
say "kernel $kernel took $((SECONDS - begin)) s"
grep -q "$kernel: ended with 0" "$work/console" || die "$kernel: FAILED"
say "$kernel: passed$(sed -n 's/.* \(from the kernel.*\)/, \1/p' "$work/console")"
# The tests' own summary, where they are run.
sed -n 's/.*\(Test run with .*\)/\1/p' "$work/console"
