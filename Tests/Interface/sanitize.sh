#!/usr/bin/env bash
# sanitize.sh address|thread FOLDER HEAPD [CALLS]: the programs in C and C++ with the library in FOLDER, both with that sanitizer, on memfd
# and on a service of HEAPD, which needs none; with ThreadSanitizer the one of several threads alone.
set -euo pipefail
sanitizer=${1:?usage: sanitize.sh address|thread FOLDER HEAPD [CALLS]}
built=$(realpath "${2:?}")
heapd=$(realpath "${3:?}")
calls=${4:-100000}
# Each forked child becomes another program, at whose end ThreadSanitizer would sleep for a second.
export TSAN_OPTIONS=halt_on_error=1:atexit_sleep_ms=0
cd "$(dirname "${BASH_SOURCE[0]}")"
. ./services.sh
# The compiler whose runtime the library's is.
. ../../packaging/toolchain.sh
clang=$(swift_folder)/clang
options=("-fsanitize=$sanitizer" -O1 -g -Wall -Wextra -Werror -I../../Sources/CLinuxHeapsInterface/include)
libraries=("-L$built" -llinuxheaps "-Wl,-rpath,$built" -pthread)
# ThreadSanitizer's calls that.
dispatch=$(dirname "$clang")/../lib/swift/linux
[ "$sanitizer" = address ] || libraries+=("-L$dispatch" -ldispatch -lBlocksRuntime "-Wl,-rpath,$dispatch")
for name in interface threads dmabufheap fuzz; do
  "$clang" -std=gnu11 "${options[@]}" $name.c -o "$work/$name" "${libraries[@]}"
done
"$clang++" -std=c++20 "${options[@]}" interface.cpp -o "$work/interface-cpp" "${libraries[@]}"
serve "$heapd" memfd
for where in memfd "$socket"; do "$work/threads" "$where" 50; done
# ThreadSanitizer does not see Swift count references: where one thread has let go of an array, and another changes it in place, it tells
# of a race.
if [ "$sanitizer" = address ]; then
  "$work/interface-cpp" memfd "$socket"
  for where in memfd "$socket"; do
    for seed in 4 5; do "$work/fuzz" "$where" "$calls" "$seed"; done
  done
  "$work/interface" memfd "$socket" "$server"
  "$work/dmabufheap" memfd
fi
stop
echo "the C interface with the $sanitizer sanitizer: passed"
