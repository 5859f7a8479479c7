#!/usr/bin/env bash
# smoke.sh HEAPCTL: runs inside a booted kernel, as root: heapctl once for each thing that it does, with the exit status
# and a line of what it says. What it says in full is tested by HeapctlTests, on the host and, by `make test-all`, in `next`.
set -uo pipefail
heapctl=$1
failed=0
out=$(mktemp)
# says STATUS PATTERN WORD...: the run ends with the status, and a line of its output matches.
says() {
  local status=$1 pattern=$2 seen=0
  shift 2
  "$heapctl" "$@" > "$out" 2>&1 < /dev/null || seen=$?
  if [ "$seen" = "$status" ] && grep -qE -- "$pattern" "$out"; then
    echo "pass  heapctl $*"
  else
    echo "FAIL  heapctl $*: ended with $seen, not $status, or says nothing like '$pattern':"
    sed 's/^/      /' "$out"
    failed=1
  fi
}

says 0 '^heapctl [0-9.]+$' --version
says 0 '^system +system ' list
says 0 '"name" : "system"' list --json
says 0 '"kind" : "dma-buf"' alloc --size 1M --heap system --json
says 0 '^given back and reclaimed$' alloc --size 1M --heap memfd
says 0 '^given back and reclaimed$' alloc --size 1M --heap opaque
says 0 '^given back and reclaimed$' alloc --size 1M --heap udmabuf
says 0 '^  loaded: [0-9]+ bytes of ' load "$heapctl" --heap system
says 0 '^  loaded: [0-9]+ bytes of ' load "$heapctl"
says 64 'size' alloc --size 12Q
says 69 'no such' alloc --size 1M --heap no-such-heap
says 1 'NO_MEMORY. To fix it: ' alloc --size 1024G --heap system
if "$heapctl" list | grep ' contiguous .*/dev/dma_heap/' > /dev/null; then
  says 0 '"contiguous" : true|given back and reclaimed' alloc --size 4M --contiguous
  says 0 'ok' doctor --probe
else
  says 69 'To fix it: ' alloc --size 4M --contiguous
fi
says 0 '^Done. Live buffers: 0.$' demo
says 0 '^[0-9]+ passed, 0 failed' verify --heap memfd --format text
says 0 '^1\.\.1|^KTAP' verify --heap memfd --format ktap
says 0 '<testsuites' verify --heap memfd --format junit
says 0 '0 failed' verify --heap system --format html -o "$out.html"
says 0 '^[0-9]+ passed, 0 failed' verify --from "$out.html"
# One page is measured, of whatever size it is here.
says 0 "\"sizeBytes\" : $(cat /pagesize 2> /dev/null || getconf PAGESIZE)\$" verify --from "$out.html" --format json
says 0 '' holders
says 0 '"buffers"' holders --json
says 0 'P50' bench --heap system --rounds 20
says 0 'steps' stress --heap system --seconds 2 --seed 7
says 69 'no such device' camera --device /dev/video999
says 69 '' info --socket /run/no-such.sock
says 64 '' frobnicate
says 0 '_heapctl' completion bash
rm -f "$out" "$out.html"
[ "$failed" = 0 ] && echo "smoke: passed"
exit "$failed"
