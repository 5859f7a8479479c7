#!/usr/bin/env bash
# build.sh FOLDER PROGRAMS: into PROGRAMS what test.sh runs, linked to the library in FOLDER. The header alone is compiled as strictly as each
# language can be.
set -euo pipefail
built=$(realpath "${1:?usage: build.sh FOLDER PROGRAMS}")
mkdir -p "${2:?}"
programs=$(realpath "$2")
cd "$(dirname "${BASH_SOURCE[0]}")"
include=$(realpath ../../Sources/CLinuxHeapsInterface/include)
for header in linuxheaps dmabufheap; do
  gcc -std=c99 -Wall -Wextra -Wpedantic -Werror -Wno-unused-variable -fsyntax-only -x c "$include/$header.h"
  g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ "$include/$header.h"
done
options=(-O1 -g -Wall -Wextra -Werror "-I$include")
libraries=("-L$built" -llinuxheaps -pthread)
for name in interface threads fuzz dmabufheap; do gcc -std=gnu11 "${options[@]}" $name.c -o "$programs/$name" "${libraries[@]}"; done
g++ -std=c++20 "${options[@]}" interface.cpp -o "$programs/interface-cpp" "${libraries[@]}"
sed -n '/^```c$/,/^```$/{/^```$/q;/^```/!p}' ../../README.md > "$programs/readme.c"
gcc -std=c99 -Wall -Wextra -Werror "-I$include" "$programs/readme.c" -o "$programs/readme" "${libraries[@]}"
gcc -std=gnu11 "${options[@]}" ../../Examples/C/service.c -o "$programs/service" "${libraries[@]}"
g++ -std=c++20 "${options[@]}" ../../Examples/C/service.cpp -o "$programs/service-cpp" "${libraries[@]}"
gcc -std=gnu11 "${options[@]}" interface.c -o "$programs/interface-static" "$built/liblinuxheaps.a" -lstdc++ -lm -pthread
