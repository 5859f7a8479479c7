#!/usr/bin/env bash
# test.sh FOLDER PROGRAMS [HEAP...]: the C interface that is in FOLDER, by programs in C and C++ (build.sh), on each of the heaps and on
# services of FOLDER's heapd. Where no heap is named the programs are built first, and run on memfd, with valgrind as well.
set -euo pipefail
built=$(realpath "${1:?usage: test.sh FOLDER PROGRAMS [HEAP...]}")
programs=${2:?}
heaps=("${@:3}")
here=$(dirname "${BASH_SOURCE[0]}")
include=$here/../../Sources/CLinuxHeapsInterface/include
[ ${#heaps[@]} -gt 0 ] || "$here/build.sh" "$built" "$programs"
programs=$(realpath "$programs")
export LD_LIBRARY_PATH=$built
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2> /dev/null || true; rm -rf "$work"' EXIT

# A small library.
size=$(stat -Lc %s "$built/liblinuxheaps.so.0")
[ "$size" -le 8000000 ] || { echo "liblinuxheaps.so.0 has $size bytes, more than 8,000,000" >&2; exit 1; }

# Each function of the header is in the library, under its version, and nothing else is.
sed -nE 's/^[a-zA-Z].*[ *]((lheap_|[A-Za-z]*DmabufHeap|CheckIon)[A-Za-z_]*)\(.*/\1/p' "$include"/*.h | sort > "$work/declared"
nm -D --defined-only --with-symbol-versions "$built/liblinuxheaps.so.0" | sed -nE 's/.* T (.*)@@LINUXHEAPS_0_1/\1/p' | sort > "$work/defined"
diff "$work/declared" "$work/defined"
[ "$(nm -D --defined-only "$built/liblinuxheaps.so.0" | grep -cv ' A ')" = "$(wc -l < "$work/defined")" ]
for name in $(cat "$work/declared"); do
  grep -q "$name(" "$here"/interface.c "$here"/dmabufheap.c || { echo "no test in C calls $name" >&2; exit 1; }
done

# serve HEAP: has heapd serve it at $work/heap.sock.
serve() {
  "$built/heapd" --socket "$work/heap.sock" --heap "$1" 2> "$work/heapd.log" &
  server=$!
  for _ in $(seq 100); do
    [ -S "$work/heap.sock.observer" ] && return
    sleep 0.1
  done
  cat "$work/heapd.log" >&2
  return 1
}

# It may have been ended by a test.
stop() {
  kill "$server" 2> /dev/null || true
  wait "$server" || true
  server=
}

for heap in "${heaps[@]:-memfd}"; do
  serve "$heap"
  "$programs/interface" "$heap" "$work/heap.sock" "$server"
  stop
  "$programs/interface-static" "$heap"
  "$programs/interface-cpp" "$heap"
  "$programs/dmabufheap" "$heap"
  "$programs/fuzz" "$heap" "${FUZZ_CALLS:-20000}" 1
  "$programs/fuzz" "$heap" "${FUZZ_CALLS:-20000}" 2
done
# The examples: README's program, and a client of both services.
[ "$("$programs/readme" | grep -c 'of memfd$')" = 1 ]
for service in service service-cpp; do
  "$programs/$service" "$work/$service.sock" > "$work/said" &
  server=$!
  python3 "$here/client.py" "$work/$service.sock"
  for _ in $(seq 100); do grep -q 'ha.* ended$' "$work/said" && break; sleep 0.1; done
  grep 'ha.* ended$' "$work/said"
  stop
done
if [ ${#heaps[@]} = 0 ]; then
  check=(valgrind --quiet --child-silent-after-fork=yes --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --fair-sched=yes)
  serve memfd
  "${check[@]}" "$programs/interface" memfd "$work/heap.sock" "$server"
  stop
  "${check[@]}" "$programs/dmabufheap" memfd
  "${check[@]}" "$programs/fuzz" memfd 3000 3
fi
echo "the C interface: passed"
