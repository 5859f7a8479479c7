#!/usr/bin/env bash
# build.sh FOLDER: compiles the tests' program, which allocates from heaps, into FOLDER/user.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
# Swift brings a compiler of C.
. "$here/../../packaging/toolchain.sh"
compiler=$(command -v cc || command -v clang || echo "$(swift_folder)/clang")
"$compiler" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -O1 -pthread -o "$1/user" "$here/user.c"
