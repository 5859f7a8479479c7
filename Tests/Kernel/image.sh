#!/usr/bin/env bash
# image.sh next|lts|stock|stock-next: prints the folder of a bootable kernel, making it first where it is not cached.
#   next        built from the newest linux-source of trixie-backports
#   lts         built from linux-source-6.12
#   stock       Debian's linux-image-6.12-amd64 as it is
#   stock-next  the newest linux-image of trixie-backports as it is
# A folder holds `vmlinuz` and `release`; those of stock and stock-next also `lib/modules`, where virtme-ng looks
# for them.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

newest_source() {
  private_apt apt-cache pkgnames linux-source- | grep -E '^linux-source-[0-9]+\.[0-9]+$' | sort -V | tail -n 1
}

# A package of one version, as signed: no meta package (`linux-image-amd64`, `linux-image-6.12-amd64`), and none of
# those whose names end in -cloud-amd64, -rt-amd64, -amd64-dbg or -amd64-unsigned.
newest_image() {
  private_apt apt-cache pkgnames linux-image- |
    grep -E '^linux-image-[0-9]+(\.[0-9]+)+\+deb[0-9]+(\.[0-9]+)?-amd64$' | sort -V | tail -n 1
}

build() {
  local package=$1 target=$2
  local tree log=$target.log
  fetch_package "$package" "$work/package"
  say "unpacking the source of $version"
  mkdir "$work/tree"
  tar -xf "$work"/package/usr/src/linux-source-*.tar.xz -C "$work/tree" --strip-components=1
  rm -rf "$work/package"
  tree=$work/tree
  say "configuring: tinyconfig and $(grep -c '^CONFIG' "$here/options.config") options"
  {
    make -C "$tree" tinyconfig
    # A leading block of the file may switch tinyconfig's own choices off: merge, then resolve.
    "$tree/scripts/kconfig/merge_config.sh" -m -O "$tree" "$tree/.config" "$here/options.config"
    make -C "$tree" olddefconfig
  } > "$log" 2>&1 || die "configuration failed; see $log"
  local option
  for option in $(sed -n 's/^# required: //p' "$here/options.config"); do
    grep -q "^CONFIG_$option=y" "$tree/.config" ||
      die "$package has no CONFIG_$option after olddefconfig; its name or dependencies changed"
  done
  compile "$tree" "$log"
  mkdir -p "$work/done"
  cp "$tree/arch/x86/boot/bzImage" "$work/done/vmlinuz"
  cp "$tree/.config" "$work/done/config"
  make -s -C "$tree" kernelrelease > "$work/done/release"
  mv "$work/done" "$target"
  rm -f "$log"
  say "$(cat "$target/release") is ready: $(du -h "$target/vmlinuz" | cut -f1)"
}

# Counts the compiler's output lines while it works; a full build of this list is about 3,000.
compile() {
  local tree=$1 log=$2
  say "compiling on $(nproc) processors (minutes); log: $log"
  make -C "$tree" -j"$(nproc)" bzImage >> "$log" 2>&1 &
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
  while read -r part; do parts+=("$part"); done < <(private_apt apt-cache depends "$package" |
    sed -nE 's/^ *Depends: (linux-(base|binary|modules)-[0-9].*)/\1/p')
  for part in "${parts[@]}"; do fetch_package "$part" "$work/root"; done
  mkdir "$work/done"
  # Since the merged /usr a package may hold its modules under either.
  mv "$work/root/lib" "$work/done/lib" 2>/dev/null || mv "$work/root/usr/lib" "$work/done/lib"
  ls "$work/done/lib/modules" > "$work/done/release"
  mv "$work"/root/boot/vmlinuz-* "$work/done/vmlinuz" 2>/dev/null ||
    mv "$work/done/lib/modules/$(cat "$work/done/release")/vmlinuz" "$work/done/vmlinuz"
  depmod -b "$work/done" "$(cat "$work/done/release")"
  mv "$work/done" "$target"
  say "$(cat "$target/release") is ready"
}

kernel=${1:?usage: image.sh next|lts|stock|stock-next}
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
prepare_apt
case $kernel in
next) package=$(newest_source || true) ;;
lts) package=linux-source-6.12 ;;
stock) package=$(private_apt apt-cache depends linux-image-6.12-amd64 | awk '/Depends: linux-image-6/ {print $2; exit}' || true) ;;
stock-next) package=$(newest_image || true) ;;
*) die "no kernel '$kernel': next, lts, stock or stock-next" ;;
esac
version=$(candidate_version "${package:-none}")
case $kernel in
stock*) options= ;;
*) options=-$(sha256sum "$here/options.config" | cut -c1-12) ;;
esac
target=$cache/kernels/$kernel-$version$options
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
  target=$(newest_cached "$cache/kernels" "$kernel-[0-9]*$options")
  [ -n "$target" ] || die "'$kernel' can be neither made nor found in $cache/kernels"
  say "warning: going on with $(basename "$target"), which is at hand"
fi
echo "$target"
