#!/usr/bin/env bash
# selftest.sh: prints the path of the kernel's own test of dma-buf heaps (tools/testing/selftests/dmabuf-heaps), building it first from the
# newest linux-source of trixie-backports where it is not cached. Linked dynamically, where its own Makefile links it statically.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare_apt
package=$(newest_source || true)
version=$(candidate_version "${package:-none}")
program=$cache/selftest-$version/dmabuf-heap
if [ ! -x "$program" ] && [ -n "$version" ] && [ "$version" != "(none)" ]; then
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  # In a process of its own: what it cannot download ends it, and not this script.
  (fetch_package "$package" "$work") || true
  if source=$(ls "$work"/usr/src/linux-source-*.tar.xz 2> /dev/null); then
    tests=tools/testing/selftests
    tar -xf "$source" -C "$work" --strip-components=1 --wildcards "*/$tests/dmabuf-heaps" "*/$tests/kselftest*.h" \
      '*/include/uapi/linux/dma-heap.h'
    mkdir "$work/done"
    # <drm/drm.h> is libdrm's.
    ln -s /usr/include/libdrm "$work/drm"
    cc -O2 -I "$work/$tests" -idirafter "$work" -o "$work/done/dmabuf-heap" "$work/$tests/dmabuf-heaps/dmabuf-heap.c" || die "the kernel's test of heaps does not compile"
    mv -T "$work/done" "$(dirname "$program")"
  fi
fi
if [ ! -x "$program" ]; then
  program=$(newest_cached "$cache" 'selftest-*')/dmabuf-heap
  [ -x "$program" ] || die "the kernel's test of heaps can be neither made nor found in $cache"
fi
echo "$program"
