#!/usr/bin/env bash
# armhf.sh [PROGRAM]: compiles the C shim for 32-bit ARM, and of liblinuxheaps its headers, what is C and the tests in C, by Swift's
# clang with Debian's libraries of C and C++, which are unpacked into the cache. PROGRAM is made of the shim and of armhf.c: a 64-bit
# kernel takes its calls, too.
. "$(dirname "${BASH_SOURCE[0]}")/../Kernel/lib.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(cd "$here/../.." && pwd)
libraries=(libc6-dev-armhf-cross linux-libc-dev-armhf-cross)
# Of the compiler that is the default, by its version: what each program begins and ends with, and C++'s headers.
compilers='libgcc-\1-dev-armhf-cross libstdc++-\1-dev-armhf-cross'
clang=$(swift_folder)/clang
if [ ! -x "$clang" ]; then
  say "no clang beside swift"
  exit 77
fi

sysroot=$cache/armhf-$(echo "${libraries[@]}" "$compilers" | sha256sum | cut -c1-12)
if [ ! -d "$sysroot" ]; then
  prepare_apt
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  libraries+=($(private_apt apt-cache depends gcc-arm-linux-gnueabihf | sed -nE "s/^ *Depends: gcc-([0-9]+)-arm-.*/$compilers/p"))
  for package in "${libraries[@]}"; do fetch_package "$package" "$work/root"; done
  mv -T "$work/root" "$sysroot"
fi

usr=$sysroot/usr/arm-linux-gnueabihf gcc=$(echo "$sysroot"/usr/lib/gcc-cross/arm-linux-gnueabihf/*)
flags=(--target=armv7-linux-gnueabihf -O1 -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Werror -nostdlibinc -isystem "$usr/include"
  -I "$tree/CLinuxHeaps/include")
"$clang" "${flags[@]}" -fsyntax-only "$tree"/CLinuxHeaps/*.c "$here/armhf.c"
interface=$tree/Sources/CLinuxHeapsInterface
"$clang" "${flags[@]}" -I "$interface/include" -fsyntax-only "$interface"/*.c "$tree"/Tests/Interface/*.c
for header in "$interface"/include/*.h; do
  options=("${flags[@]/-D_GNU_SOURCE=/-U_GNU_SOURCE}" -Wpedantic -Wno-unused-const-variable -fsyntax-only)
  "$clang" "${options[@]}" -std=c99 -x c "$header"
  "$clang" "${options[@]}" -std=c++17 -x c++ "$header"
done
cxx=$(echo "$usr"/include/c++/*)
"$clang" -nostdinc++ -isystem "$cxx" -isystem "$cxx/arm-linux-gnueabihf" "${flags[@]/-D_GNU_SOURCE=/-D_GNU_SOURCE}" -Wpedantic \
  -std=c++20 -fsyntax-only -x c++ "$interface/include/linuxheaps.hpp"
say "the C shim and the C interface compile for armhf"
[ $# -gt 0 ] || exit 0
"$clang" "${flags[@]}" -nostdlib -static -fuse-ld=lld -o "$1" "$usr/lib/crt1.o" "$usr/lib/crti.o" "$gcc/crtbeginT.o" \
  "$here/armhf.c" "$tree"/CLinuxHeaps/*.c -L "$usr/lib" -L "$gcc" -Wl,--start-group -lc -lgcc -lgcc_eh -Wl,--end-group \
  "$gcc/crtend.o" "$usr/lib/crtn.o"
