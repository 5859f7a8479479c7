#!/usr/bin/env bash
# sanitize.sh FOLDER [CALLS]: the programs in C with the library in FOLDER, both with AddressSanitizer, on memfd.
set -euo pipefail
built=$(realpath "${1:?usage: sanitize.sh FOLDER [CALLS]}")
calls=${2:-100000}
cd "$(dirname "${BASH_SOURCE[0]}")"
programs=$(mktemp -d)
trap 'rm -rf "$programs"' EXIT
# The compiler whose runtime the library's is.
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
for name in interface dmabufheap fuzz; do
  "$clang" -std=gnu11 -fsanitize=address -O1 -g -Wall -Wextra -Werror -I../../Sources/CLinuxHeapsInterface/include $name.c \
    -o "$programs/$name" "-L$built" -llinuxheaps "-Wl,-rpath,$built" -pthread
done
"$programs/interface" memfd
"$programs/dmabufheap" memfd
for seed in 4 5; do "$programs/fuzz" memfd "$calls" "$seed"; done
echo "the C interface with AddressSanitizer: passed"
