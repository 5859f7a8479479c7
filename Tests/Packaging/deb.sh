#!/usr/bin/env bash
# deb.sh [ARCHITECTURE]: makes the Debian packages of what packaging/ship.sh has built for this machine's architecture, or for another,
# checks them, and prints their paths.
. "$(dirname "${BASH_SOURCE[0]}")/../Kernel/lib.sh"
cd "$here/../.."
native=$(dpkg --print-architecture)
export ARCH=${1:-$native}
ship=.build-ship
[ "$ARCH" = "$native" ] || ship=$ship/$ARCH
if [ ! -x "$ship/dynamic/heapctl" ]; then
  say "no programs for $ARCH: ARCH=$ARCH packaging/ship.sh dynamic"
  exit 77
fi
packages=($(packaging/deb.sh))
lintian --allow-root --fail-on error "${packages[@]}" >&2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for package in "${packages[@]}"; do dpkg-deb -x "$package" "$work/root"; done
mapfile -t files < <(find "$work/root" -type f \( -path '*/bin/*' -o -name '*.so' -o -name '*.so.*' \))
[ "$(basename -a "${files[@]}" | LC_ALL=C sort | xargs)" = "heapctl heapd liblinuxheaps-preload.so liblinuxheaps.so.0" ] ||
  die "programs and shared libraries in the packages: ${files[*]}"
packaging/segments.sh "${files[@]}"
# Those for this machine's architecture are installed by library.sh and Tests/Kernel/systemd/package.sh.
if [ "$ARCH" != "$native" ]; then
  prepare_arm64_apt
  grep ' trixie ' "$cache/apt/arm64.list" > "$work/sources.list"
  : > "$work/status"
  arm64_apt apt-get -o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::State::Status=$work/status" -o "APT::Architecture=$ARCH" \
    --no-install-recommends --simulate install "${packages[@]/#/./}" > "$work/log" 2>&1 ||
    die "Debian 13 has not what they depend on: $(cat "$work/log")"
fi
printf '%s\n' "${packages[@]}"
