#!/usr/bin/env bash
# devicetree.sh KERNEL: boots the kernel for arm64 with regions in the device tree (arm64/board.dtso, over QEMU's own), as boards
# have them, and has the programs tested on their heaps (arm64/devicetree); then again with the fixes that the doctor told.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

kernel=${1:?usage: devicetree.sh KERNEL}
work=$(mktemp -d "$cache/devicetree.XXXXXX")
trap 'rm -rf "$work"' EXIT
qemu-system-aarch64 $arm64_machine -M "dumpdtb=$work/qemu.dtb" 2> /dev/null
dtc -q -I dts -O dtb -o "$work/board.dtbo" "$here/arm64/board.dtso"
fdtoverlay -i "$work/qemu.dtb" -o "$work/board.dtb" "$work/board.dtbo"
QEMU_OPTIONS="-dtb $work/board.dtb" "$here/arm64.sh" "$kernel" devicetree | tee "$work/console"

mkdir "$work/fixes"
while read -r fix; do
  say "carrying out: $fix"
  (cd "$work/fixes" && bash -euo pipefail -c "$fix") || die "the fix fails"
done < <(sed -n 's/^ *fix: \(echo .*\)/\1/p' "$work/console" | sort -u)
[ "$(ls "$work/fixes" | xargs)" = display-pool.dtbo ] || die "the fixes make $(ls "$work/fixes" | xargs)"
# The default region makes way for the command line's.
word=$(sed -n 's/^ *fix: cat .* add \(cma=[0-9]*M\) to it.*/\1/p' "$work/console" | sort -u)
[ "$word" = cma=128M ] || die "the command line is to have '$word'"
fdtoverlay -i "$work/board.dtb" -o "$work/larger.dtb" "$work"/fixes/*.dtbo
LINUXHEAPS_APPEND=$word QEMU_OPTIONS="-dtb $work/larger.dtb" "$here/arm64.sh" "$kernel" devicetree-larger
