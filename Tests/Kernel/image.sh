#!/usr/bin/env bash
# image.sh KERNEL: prints the folder of a bootable kernel, making it first where it is not cached.
#   next         built from the newest linux-source of trixie-backports
#   lts          built from linux-source-6.12
#   stock        Debian's linux-image-6.12-amd64 as it is
#   stock-next   the newest linux-image of trixie-backports as it is
#   arm64-4k     the newest arm64 linux-image of trixie-backports, whose pages have 4 KiB, and the heaps as modules for it, which
#                it has not itself
#   arm64-16k    the same with pages of 16 KiB
#   arm64-64k    built for arm64 from the newest linux-source of trixie-backports, with pages of 64 KiB
# A folder holds `vmlinuz` and `release`; those of Debian's own kernels also `lib/modules`, where virtme-ng looks
# for them, and those for arm64 `heaps`.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# A package of one version, as signed: no meta package (`linux-image-amd64`, `linux-image-6.12-amd64`), and none of
# those whose names end in -cloud-amd64, -rt-amd64, -amd64-dbg or -amd64-unsigned. newest_image FLAVOUR
newest_image() {
  "$apt" apt-cache pkgnames linux-image- |
    grep -E '^linux-image-[0-9]+(\.[0-9]+)+\+deb[0-9]+(\.[0-9]+)?-'"$1"'$' | sort -V | tail -n 1
}

# make for the tree that is being built, by the compiler for its architecture.
kernel_make() {
  case $kernel in
  arm64-*) LINUXHEAPS_BUILD=$work "$here/../Toolchains/arm64.sh" make -C /build/tree ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- "$@" ;;
  *) make -C "$work/tree" "$@" ;;
  esac
}

build() {
  local package=$1 target=$2
  local tree log=$target.log image=arch/x86/boot/bzImage
  [[ $kernel != arm64-* ]] || image=arch/arm64/boot/Image
  fetch_package "$package" "$work/package"
  say "unpacking the source of $version"
  mkdir "$work/tree"
  tar -xf "$work"/package/usr/src/linux-source-*.tar.xz -C "$work/tree" --strip-components=1
  rm -rf "$work/package"
  tree=$work/tree
  say "configuring: tinyconfig and $(grep -c '^CONFIG' "$options") options"
  {
    kernel_make tinyconfig
    # A leading block of the file may switch tinyconfig's own choices off: merge, then resolve.
    "$tree/scripts/kconfig/merge_config.sh" -m -O "$tree" "$tree/.config" "$options"
    kernel_make olddefconfig
  } > "$log" 2>&1 || die "configuration failed; see $log"
  local option
  for option in $(sed -n 's/^# required: //p' "$options"); do
    grep -q "^CONFIG_$option=y" "$tree/.config" ||
      die "$package has no CONFIG_$option after olddefconfig; its name or dependencies changed"
  done
  compile "$(basename "$image")" "$log"
  mkdir -p "$work/done"
  cp "$tree/$image" "$work/done/vmlinuz"
  cp "$tree/.config" "$work/done/config"
  kernel_make -s kernelrelease > "$work/done/release"
  mv "$work/done" "$target"
  rm -f "$log"
  say "$(cat "$target/release") is ready: $(du -h "$target/vmlinuz" | cut -f1)"
}

# Counts the compiler's output lines while it works; a full build of this list is about 3,000.
compile() {
  local image=$1 log=$2
  say "compiling on $(nproc) processors (minutes); log: $log"
  kernel_make -j"$(nproc)" "$image" >> "$log" 2>&1 &
  local job=$! ticks=0
  while kill -0 "$job" 2>/dev/null; do
    sleep 1
    ticks=$((ticks + 1))
    if [ $((ticks % 30)) = 0 ]; then say "  $(grep -cE '^  (CC|AS|LD|AR) ' "$log") objects so far"; fi
  done
  wait "$job" || die "the kernel did not compile: $(tail -n 3 "$log"); whole log: $log"
}

# Debian's 7.x kernels come in parts: linux-image-RELEASE is empty and asks for linux-binary-RELEASE, which has vmlinuz
# in the modules' folder, for linux-modules-RELEASE, and for linux-base-RELEASE with the lists of what is built in.
unpack_stock() {
  local package=$1 target=$2 part
  local parts=("$package")
  while read -r part; do parts+=("$part"); done < <("$apt" apt-cache depends "$package" |
    sed -nE 's/^ *Depends: (linux-(base|binary|modules)-[0-9].*)/\1/p')
  for part in "${parts[@]}"; do fetch_package "$part" "$work/root" "$apt"; done
  mkdir "$work/done"
  # Since the merged /usr a package may hold its modules under either.
  mv "$work/root/lib" "$work/done/lib" 2>/dev/null || mv "$work/root/usr/lib" "$work/done/lib"
  ls "$work/done/lib/modules" > "$work/done/release"
  mv "$work"/root/boot/vmlinuz-* "$work/done/vmlinuz" 2>/dev/null ||
    mv "$work/done/lib/modules/$(cat "$work/done/release")/vmlinuz" "$work/done/vmlinuz"
  depmod -b "$work/done" "$(cat "$work/done/release")"
  [ "$apt" = private_apt ] || build_heaps "$(cat "$work/done/release")" "$work/done/heaps" "$target.log"
  mv "$work/done" "$target"
  say "$(cat "$target/release") is ready"
}

# build_heaps RELEASE TARGET LOG: the heaps of that kernel's source as modules for Debian's kernel, which is built without them. Of all that
# they need only the frame is not written as a module; signatures and versions of symbols are not asked for.
build_heaps() {
  local release=$1 target=$2 log=$3 headers=$work/headers
  fetch_package "linux-headers-$release:arm64" "$headers" "$apt"
  fetch_package "linux-headers-${release%%-*}-common" "$headers" "$apt"
  fetch_package "linux-kbuild-${release%%-*}" "$headers" "$apt"
  fetch_package "linux-source-$(cut -d. -f1,2 <<< "$release")" "$work/package" "$apt"
  say "building the heaps as modules"
  mkdir "$work/heaps"
  tar -xf "$work"/package/usr/src/linux-source-*.tar.xz -C "$work/heaps" --strip-components=3 --wildcards \
    '*/drivers/dma-buf/dma-heap.c' '*/drivers/dma-buf/heaps/*_heap.c'
  mv "$work"/heaps/heaps/*.c "$work/heaps"
  printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_IMPORT_NS("DMA_BUF");\n' >> "$work/heaps/dma-heap.c"
  echo 'obj-m := dma-heap.o system_heap.o cma_heap.o' > "$work/heaps/Makefile"
  # The headers name each other by the places where they would be installed. With the kernel's own types pahole would be asked for.
  sed -i 's|/usr/src/linux-|/build/headers&|' "$headers/usr/src/linux-headers-$release/Makefile"
  rm -f "$headers/usr/src/linux-headers-$release/vmlinux"
  LINUXHEAPS_BUILD=$work "$here/../Toolchains/arm64.sh" make -C "/build/headers/usr/src/linux-headers-$release" \
    M=/build/heaps CC=aarch64-linux-gnu-gcc modules > "$log" 2>&1 || die "the heaps do not compile; see $log"
  mkdir "$target"
  for module in dma-heap system_heap cma_heap; do cp "$work/heaps/$module.ko" "$target/"; done
  rm "$log"
}

kernel=${1:?usage: image.sh KERNEL}
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
# What package lists are read with.
case $kernel in
arm64-4k | arm64-16k) apt=arm64_apt && prepare_arm64_apt ;;
*) apt=private_apt && prepare_apt ;;
esac
case $kernel in
next) package=$(newest_source || true) ;;
lts) package=linux-source-6.12 ;;
stock) package=$(private_apt apt-cache depends linux-image-6.12-amd64 | awk '/Depends: linux-image-6/ {print $2; exit}' || true) ;;
stock-next) package=$(newest_image amd64 || true) ;;
arm64-4k) package=$(newest_image arm64 || true):arm64 ;;
arm64-16k) package=$(newest_image arm64-16k || true):arm64 ;;
arm64-64k) package=$(newest_source || true) ;;
*) die "no kernel '$kernel': next, lts, stock, stock-next, arm64-4k, arm64-16k or arm64-64k" ;;
esac
version=$(candidate_version "${package:-none}")
# What is built has a list of options, whose hash is in its name.
case $kernel in
next | lts) options=$here/options.config ;;
arm64-64k) options=$here/arm64/options.config ;;
*) options= ;;
esac
hash=
[ -z "$options" ] || hash=-$(sha256sum "$options" | cut -c1-12)
target=$cache/kernels/$kernel-$version$hash
# Who comes while another makes it waits, and finds it made.
if [ ! -d "$target" ]; then
  exec 9> "$cache/kernels/.$kernel.lock"
  flock 9
fi
if [ ! -d "$target" ]; then
  if [ -n "$version" ] && [ "$version" != "(none)" ]; then
    make=unpack_stock
    [ -z "$options" ] || make=build
    # In a process of its own: what it cannot download ends it, and not this script. What cannot be built is a failure.
    set +e
    (set -e && "$make" "$package" "$target")
    status=$?
    set -e
    [ "$status" = 0 ] || [ "$status" = 75 ] || exit "$status"
  else
    say "no package for '$kernel' in this machine's archive (${package:-none of its kind})"
  fi
fi
if [ ! -d "$target" ]; then
  target=$(newest_cached "$cache/kernels" "$kernel-[0-9]*$hash")
  [ -n "$target" ] || die "'$kernel' can be neither made nor found in $cache/kernels"
  say "warning: going on with $(basename "$target"), which is at hand"
fi
echo "$target"
