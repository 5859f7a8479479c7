#!/usr/bin/env bash
# test.sh KERNEL...: boots each kernel with guest.sh, stock-next with iterator.sh, one after the other: an emulated
# machine of two processors wants both of the host's.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

failed=0
for kernel in "$@"; do
  begin=$SECONDS
  guest=(Tests/Kernel/guest.sh "$kernel")
  [ "$kernel" != stock-next ] || guest=(Tests/Kernel/iterator.sh)
  "$here/boot.sh" "$kernel" "${guest[@]}" || failed=1
  say "kernel $kernel took $((SECONDS - begin)) s"
done
exit "$failed"
