#!/usr/bin/env bash
# run.sh test|test-all: what `make test` and `make test-all` run once everything is built: steps in two lanes, beside one another:
# the host's tests wait more than they compute, and so does a guest that starts. Each step's output goes to .build-logs/STEP.log. Ends with
# what ran and for how long, what did not run here and where it does, what failed, and the test runner's summary.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
mode=${1:?usage: run.sh test|test-all}
logs=.build-logs
rm -rf "$logs"
mkdir "$logs"
K=Tests/Kernel
export LINUXHEAPS_PROGRAMS=$PWD/.build-ship/dynamic

# step NAME COMMAND...: 77 says that it cannot run on this machine, and the last line why.
step() {
  local name=$1 begin=$SECONDS status=0 result
  shift
  echo "[$(date +%T)] $name: $*"
  "$@" > "$logs/$name.log" 2>&1 < /dev/null || status=$?
  case $status in
  0) result=passed ;;
  77) result="did not run: $(tail -n 1 "$logs/$name.log")" ;;
  *) result="FAILED ($status)" ;;
  esac
  printf '%s\t%s\t%s\n' "$name" "$((SECONDS - begin)) s" "$result" >> "$logs/results"
  echo "[$(date +%T)] $name: $result after $((SECONDS - begin)) s"
}

case $mode in
test)
  # Two guests of one emulated processor beside one another end sooner than two of two: `heapctl verify` of both heaps takes 26 s
  # where those take 40 s, and 32 s one after another. On two at once tests run in `make test-all`.
  export LINUXHEAPS_PROCESSORS=1
  first() {
    step next $K/test.sh next
    step arm64-16k $K/test.sh arm64-16k
    step armhf Tests/Toolchains/armhf.sh
  }
  second() {
    step host swift test --skip-build --no-parallel
    step systemd $K/systemd/boot.sh next $K/systemd/guest.sh facts heapd fixes
    step systemd-stock $K/systemd/boot.sh stock-next $K/systemd/guest.sh hearing
    step package Tests/Packaging/test.sh
    step interface Tests/Interface/test.sh .build-ship/dynamic .build/interface-host
    step static $K/static.sh .build-ship/static
    step screen $K/screen.sh
    step stock-next $K/test.sh stock-next
  }
  ;;
test-all)
  first() {
    step next $K/test.sh --all next
    step screen $K/screen.sh --all
    step load $K/load.sh
    for kernel in arm64-4k arm64-16k stock-arm64; do step "$kernel" $K/test.sh "$kernel"; done
    # Four of one kernel: what several processors do to one another.
    LINUXHEAPS_PROCESSORS=4 step arm64-64k $K/test.sh arm64-64k
    LINUXHEAPS_PROCESSORS=4 LINUXHEAPS_BOOT_LIMIT=1800 step concurrency-arm64 $K/arm64.sh arm64-16k concurrency
    step interface-arm64 $K/arm64.sh arm64-16k interface
    step package-arm64 Tests/Packaging/deb.sh arm64
    step sanitize make --no-print-directory sanitize
  }
  second() {
    step host swift test --skip-build --no-parallel
    # Soon: it resolves one package more than the steps that read Package.resolved know.
    step docs make --no-print-directory docs
    step model Tests/Model/check.sh
    step faults Tests/Hostile/calls.py .build-ship/dynamic/heapd
    step swift-6.2 Tests/Toolchains/swift-6.2.sh
    step musl Tests/Toolchains/musl.sh
    step dependent make --no-print-directory dependent-test
    step lts $K/test.sh --all lts
    step stock $K/test.sh --all stock
    step stock-next $K/test.sh stock-next
    step systemd $K/systemd/boot.sh next $K/systemd/guest.sh facts heapd fixes
    LINUXHEAPS_PROCESSORS=1 step systemd-stock $K/systemd/boot.sh stock-next $K/systemd/guest.sh hearing
    step package Tests/Packaging/test.sh
    step interface env FUZZ_CALLS=500000 Tests/Interface/test.sh .build-ship/dynamic .build/interface-host
    LINUXHEAPS_PROCESSORS=1 step static $K/static.sh .build-ship/static
    LINUXHEAPS_PROCESSORS=1 step static-stock $K/static.sh .build-ship/static stock
    step applications Tests/Applications/test.sh
  }
  ;;
*) echo "usage: run.sh test|test-all" >&2 && exit 64 ;;
esac

first &
second &
wait
# Alone: its figures are ratios, but a busy machine makes them wide.
[ "$mode" = test ] || step bench make --no-print-directory bench

# plain NAME: a step's log without the runner's colours.
plain() { sed 's/\x1b\[[0-9;]*m//g' "$logs/$1.log"; }

echo
echo "What ran, in the order of its end:"
column -t -s $'\t' "$logs/results" | sed 's/^/  /'
skipped() { plain "$1" | sed -nE 's/^➜ .* skipped: "(.*)"$/\1/p' | sort | uniq -c | sort -rn; }
echo "What the host's tests skipped, with reasons; in guests, where a skip is a failure on next:"
echo "  KernelTests' in the step next; others' by \`make test-all\`, in its step next"
skipped host | sed 's/^/  /'
if [ "$mode" = test ]; then
  echo "What does not run here but in \`make test-all\`: the kernels lts, stock and the others for arm64, whole storms on real heaps, every test of heapctl"
  echo "  and heapd inside next, each system call of heapd failing, sanitizers, the model, documentation, benchmarks, a dependent package, the package for"
  echo "  arm64, Swift 6.2"
fi
echo
# The end of each failed step's log, and last, as a long output is read from its end, the lines that name what failed. The runner tells
# of each start too, and prints what it was told of a failure: neither says why.
failed=$(awk -F'\t' '$3 ~ /^FAILED/ {print $1}' "$logs/results")
for name in $failed; do
  echo "---- $name, the end of $logs/$name.log"
  plain "$name" | grep -vE '^(◇|➜|↳ ///|✔ (Test( case)?|Suite) )' | tail -n 60
done
for name in $failed; do
  echo "---- $name, what failed"
  plain "$name" | grep -E '^✘|FAILED|^fail|[Ee]rror:|Fatal error' | cut -c 1-400 | head -n 20
done
grep -hE '✔ Test run|✘ Test run' "$logs/host.log"
! grep -q FAILED "$logs/results"
