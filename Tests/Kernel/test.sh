#!/usr/bin/env bash
# test.sh KERNEL...: boots each kernel with guest.sh, one after the other: an emulated machine of two
# processors wants both of the host's.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

failed=0
for kernel in "$@"; do
  begin=$SECONDS
  "$here/boot.sh" "$kernel" Tests/Kernel/guest.sh "$kernel" || failed=1
  say "kernel $kernel took $((SECONDS - begin)) s"
done
exit "$failed"
