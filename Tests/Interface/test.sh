#!/usr/bin/env bash
# test.sh FOLDER PROGRAMS [HEAP...]: the C interface that is in FOLDER, by programs in C and C++ (build.sh), on each of the heaps and on
# services of FOLDER's heapd. Where no heap is named the programs are built first, and run on memfd, with valgrind as well.
set -euo pipefail
built=$(realpath "${1:?usage: test.sh FOLDER PROGRAMS [HEAP...]}")
programs=${2:?}
heaps=("${@:3}")
here=$(dirname "${BASH_SOURCE[0]}")
include=$here/../../Sources/CLinuxHeapsInterface/include
rounds=9
if [ ${#heaps[@]} = 0 ]; then
  "$here/build.sh" "$built" "$programs"
  rounds=50
fi
programs=$(realpath "$programs")
export LD_LIBRARY_PATH=$built
calls=${FUZZ_CALLS:-20000}
. "$here/services.sh"

# A small library, which starts no thread where it is loaded.
size=$(stat -Lc %s "$built/liblinuxheaps.so.0")
[ "$size" -le 8000000 ] || { echo "liblinuxheaps.so.0 has $size bytes, more than 8,000,000" >&2; exit 1; }
LD_PRELOAD=$built/liblinuxheaps.so.0 cat /proc/self/maps /proc/self/status > "$work/loaded"
grep -q '/liblinuxheaps\.so\.0$' "$work/loaded"
[ "$(sed -n 's/^Threads:\t//p' "$work/loaded")" = 1 ] || { echo "liblinuxheaps.so.0 starts a thread where it is loaded" >&2; exit 1; }

# It stays where it is: its thread and its handlers of fork(2) do.
readelf -d "$built/liblinuxheaps.so.0" | grep -q NODELETE || { echo "liblinuxheaps.so.0 can be unloaded" >&2; exit 1; }
python3 - "$built/liblinuxheaps.so.0" << 'EOF'
import _ctypes, ctypes, os, sys, time
library, heap, vmo = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p(), ctypes.c_void_p()
assert library.lheap_open(b"memfd", 0, ctypes.byref(heap), None) == 0
assert library.lheap_allocate(heap, ctypes.c_uint64(1), None, ctypes.byref(vmo), None) == 0
descriptor = library.lheap_vmo_lend_fd(vmo)
_ctypes.dlclose(library._handle)
# The thread is told of it.
os.close(descriptor)
time.sleep(0.1)
EOF

# Each function of the headers is in the library, under its version, and nothing else is. A test in C has its results, and the fuzzer
# calls it, too.
sed -nE 's/^[a-zA-Z].*[ *]((lheap_|[A-Za-z]*DmabufHeap|CheckIon)[A-Za-z_]*)\(.*/\1/p' "$include"/*.h | sort > "$work/declared"
nm -D --defined-only --with-symbol-versions "$built/liblinuxheaps.so.0" | sed -nE 's/.* T (.*)@@LINUXHEAPS_0_1/\1/p' | sort > "$work/defined"
diff "$work/declared" "$work/defined"
[ "$(nm -D --defined-only "$built/liblinuxheaps.so.0" | grep -cv ' A ')" = "$(wc -l < "$work/defined")" ]
while read -r name; do
  grep -q "\b$name(" "$here"/{interface,dmabufheap}.c || { echo "no test in C calls $name" >&2; exit 1; }
  grep -q "\b$name(" "$here"/{fuzz.c,heaps.h} || { echo "the fuzzer does not call $name" >&2; exit 1; }
done < "$work/declared"

for heap in "${heaps[@]:-memfd}"; do
  serve "$built/heapd" "$heap"
  "$programs/interface-cpp" "$heap" "$socket"
  for where in "$heap" "$socket"; do
    "$programs/threads" "$where" "$rounds"
    for seed in 1 2; do "$programs/fuzz" "$where" "$calls" "$seed"; done
  done
  "$programs/interface" "$heap" "$socket" "$server"
  stop
  "$programs/interface-static" "$heap"
  "$programs/dmabufheap" "$heap"
done
# The examples: README's program, and a client of both services.
[ "$("$programs/readme" | grep -c 'of memfd$')" = 1 ]
for service in service service-cpp; do
  # Fewer descriptors than come clients.
  (ulimit -n 100 && exec "$programs/$service" "$work/$service.sock") > "$work/said" &
  server=$!
  python3 "$here/client.py" "$work/$service.sock"
  for _ in $(seq 100); do grep -q 'ha.* ended$' "$work/said" && break; sleep 0.1; done
  grep 'ha.* ended$' "$work/said"
  stop
done
if [ ${#heaps[@]} = 0 ]; then
  check=(valgrind --quiet --child-silent-after-fork=yes --error-exitcode=9 --leak-check=full --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect --fair-sched=yes)
  serve "$built/heapd" memfd
  "${check[@]}" "$programs/interface-cpp" memfd "$socket"
  for where in memfd "$socket"; do
    "${check[@]}" "$programs/threads" "$where" 9
    "${check[@]}" "$programs/fuzz" "$where" 3000 3
  done
  "${check[@]}" "$programs/interface" memfd "$socket" "$server"
  stop
  "${check[@]}" "$programs/dmabufheap" memfd
fi
echo "the C interface: passed"
