#!/usr/bin/env bash
# rust.inside.sh: the Rust example, on memory of its own and on the kernel's heaps, and as a user who may not open those.
set -uo pipefail
failed=0
allocate=/build/rust/debug/examples/allocate
# check WORDS STATUS TEXT... -- COMMAND...: it ends so, and says each text.
check() {
  local words=$1 status=$2 texts=() said result=0
  shift 2
  while [ "$1" != -- ]; do texts+=("$1") && shift; done
  shift
  said=$("$@" 2>&1) || result=$?
  for text in "${texts[@]}"; do [[ $said == *"$text"* ]] || result="$result, without '$text'"; done
  if [ "$result" = "$status" ]; then
    echo "pass  $words"
  else
    echo "FAIL  $words: $result: $said"
    failed=1
  fi
}
buffer='"from Rust\0" in File'
refusal=('allocate 1 EiB' '; NO_MEMORY. To fix it: ')
check memfd 0 "$buffer" '/memfd:lh:' "${refusal[@]}" -- "$allocate" memfd
for heap in system default_cma_region udmabuf; do check "$heap" 0 "$buffer" '/dmabuf:' "${refusal[@]}" -- "$allocate" "$heap"; done
check "the kernel's heaps" 0 "$buffer" '/dmabuf:' -- "$allocate"
check "a closed node" 1 'open heap' '/dev/dma_heap/system' 'To fix it: ' -- \
  setpriv --reuid=65534 --regid=65534 --clear-groups "$allocate" system
check "no heap" 1 'NOT_FOUND' -- "$allocate" no-such-heap
exit "$failed"
