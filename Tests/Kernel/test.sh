#!/usr/bin/env bash
# test.sh [--all] KERNEL...: boots each kernel with guest.sh, stock-next with iterator.sh, those for arm64 by arm64.sh, and arm64-16k
# by devicetree.sh too, next by parameters.sh. With --all whole storms, and on `next` every test that can run there.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

mode=
if [ "${1:-}" = --all ]; then
  mode=all
  shift
fi
failed=0
for kernel in "$@"; do
  case $kernel in
  *arm64*)
    # 77: there is nothing to run.
    "$here/arm64.sh" "$kernel" || failed=$?
    if [ "$kernel" = arm64-16k ] && [ "$failed" = 0 ]; then "$here/devicetree.sh" "$kernel" || failed=1; fi
    continue
    ;;
  esac
  begin=$SECONDS
  guest=(Tests/Kernel/as-host.sh Tests/Kernel/guest.sh "$kernel" $mode)
  # Debian's kernels have BTF, so that heapd attaches BPF programs, and a kernel patches its own code for them in a way that several
  # emulated processors do not bear: one of them meets the breakpoint when the kernel has forgotten it ("Oops: int3", fput+0x5).
  processors=${LINUXHEAPS_PROCESSORS:-2}
  case $kernel in stock*) processors=1 ;; esac
  [ "$kernel" != stock-next ] || guest=(Tests/Kernel/iterator.sh)
  # What a guest would compile for minutes.
  if [ "$kernel" = next ]; then
    Tests/Preload/build.sh .build/preload
    Tests/Interface/build.sh .build-ship/dynamic .build/interface
    cp "$("$here/selftest.sh")" .build/preload/
  fi
  LINUXHEAPS_PROCESSORS=$processors "$here/boot.sh" "$kernel" "${guest[@]}" || failed=1
  [ "$kernel" != next ] || "$here/parameters.sh" || failed=1
  say "kernel $kernel took $((SECONDS - begin)) s"
done
exit "$failed"
