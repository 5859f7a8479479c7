#!/usr/bin/env bash
# fuzz.sh [EXECUTIONS [STEPS]]: libFuzzer with AddressSanitizer. So many executions of the decoders (10 million without), then connections until
# they have made so many steps (a million). Starts from the inputs in Corpus, and keeps what it finds new in .build-fuzz/corpus, which the next
# run starts from too. An input that finds something is left in .build-fuzz, with its name in the last lines; once it is mended it belongs
# into Corpus, which `make test` runs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
executions=${1:-10000000} steps=${2:-1000000}
here=Tests/Fuzz build=.build-fuzz
export LINUXHEAPS_FUZZ=1
# The backtracer would wait for minutes on a sanitizer's report. What Swift's runtime keeps for good is no leak.
export SWIFT_BACKTRACE=enable=no
export LSAN_OPTIONS=suppressions=$PWD/Tests/Sanitizers/leaks.txt:print_suppressions=0

for name in decoders connections; do
  swift build -c release --scratch-path "$build" --sanitize address --sanitize fuzzer --product "fuzz-$name"
  mkdir -p "$build/corpus/$name"
done

# run NAME OPTIONS...: its last lines are of libFuzzer's own statistics.
run() {
  local name=$1
  shift
  "$build/release/fuzz-$name" -artifact_prefix="$build/" -print_final_stats=1 -print_funcs=0 -rss_limit_mb=4096 "$@" \
    "$build/corpus/$name" "$here/Corpus/$name" 2> "$build/$name.log" || { tail -n 60 "$build/$name.log" >&2; exit 1; }
}

run decoders -runs="$executions" -max_len=4096
echo "decoders: $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/decoders.log") executions, none failed"

done_steps=0 inputs=0
while ((done_steps < steps)); do
  # A look for leaks after an input finds what another thread is about to use: Swift hides pointers in enums.
  run connections -runs=20000 -detect_leaks=0 -max_len=512 -len_control=0
  done_steps=$((done_steps + $(sed -n 's/^connection steps: //p' "$build/connections.log" | tail -n 1)))
  inputs=$((inputs + $(sed -n 's/^stat::number_of_executed_units: *//p' "$build/connections.log")))
done
echo "connections: $done_steps steps in $inputs inputs; after each a newcomer was served, and no descriptor was left"
