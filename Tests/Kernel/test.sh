#!/usr/bin/env bash
# test.sh KERNEL...: boots each kernel with guest.sh, as many at a time as there are processors for.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
one() {
  local begin=$SECONDS status=0
  "$here/boot.sh" "$1" Tests/Kernel/guest.sh "$1" > "$logs/$1" 2>&1 || status=$?
  say "kernel $1: status $status after $((SECONDS - begin)) s"
  return "$status"
}

failed=0
jobs=()
for kernel in "$@"; do
  # Both processors emulate one each: a guest's second is worth little to tests that run in turn.
  while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n || failed=1; done
  one "$kernel" &
  jobs+=("$!")
done
for job in "${jobs[@]}"; do wait "$job" || failed=1; done
for kernel in "$@"; do cat "$logs/$kernel"; done
exit "$failed"
