#!/usr/bin/env bash
# arm64.sh FOLDER: the programs in C, for arm64 and with the library that `ARCH=arm64 packaging/ship.sh dynamic` makes, into FOLDER.
set -euo pipefail
folder=$(realpath -m "${1:?usage: arm64.sh FOLDER}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
library=.build-ship/arm64/dynamic/liblinuxheaps.so.0
[ -f "$library" ] || { echo "no $library: ARCH=arm64 packaging/ship.sh dynamic" >&2; exit 77; }
mkdir -p "$folder"
cp "$library" "$folder"
LINUXHEAPS_BUILD=$folder Tests/Toolchains/arm64.sh bash -c '
  set -e
  ln -sf liblinuxheaps.so.0 /build/liblinuxheaps.so
  cp /arm64/usr/lib/aarch64-linux-gnu/libgcc_s.so.1 /build
  for name in interface threads dmabufheap fuzz; do
    aarch64-linux-gnu-gcc --sysroot=/arm64 -std=gnu11 -O1 -g -Wall -Wextra -Werror -ISources/CLinuxHeapsInterface/include \
      Tests/Interface/$name.c -o /build/$name -L/build -llinuxheaps -pthread 2> /tmp/said
    # The linker says that something is wrong with a library, and ends with 0.
    if [ -s /tmp/said ]; then cat /tmp/said >&2; exit 1; fi
  done'
