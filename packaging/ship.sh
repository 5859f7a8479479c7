#!/usr/bin/env bash
# ship.sh dynamic|static: builds what is installed, into the folders that it is installed from.
#   dynamic  .build-ship/dynamic: heapctl and heapd with Swift's libraries in them, and C's beside; liblinuxheaps-preload.so; with
#            .build-ship/man and .build-ship/completions, made from that heapctl
#   static   .build-ship/static: both with all libraries in them, for a board that has none, and the same library
# They differ in how they are linked, and the static ones are compiled for size.
# ARCH=arm64 in the environment: for that architecture on any machine, into .build-ship/arm64 (Tests/Toolchains/arm64.sh).
# SWIFT_SDK=NAME: by a Swift SDK that SwiftPM has, into .build-ship/NAME; liblinuxheaps-preload.so is then made only where CC is
# its compiler of C. Both without manual pages and completions.
set -euo pipefail
kind=${1:?usage: ship.sh dynamic|static}
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -n "${ARCH:-}" ] && [ "$ARCH" != "$(dpkg --print-architecture)" ]; then
  [ "$ARCH" = arm64 ] || { echo "error: ARCH=$ARCH: no compiler is known. To fix it: SWIFT_SDK=NAME" >&2; exit 64; }
  exec Tests/Toolchains/arm64.sh packaging/ship.sh "$kind"
fi
ship=${SHIP:-.build-ship${SWIFT_SDK:+/$SWIFT_SDK}}
# Its number is the interface's, which the functions' version names too.
library=liblinuxheaps.so.0
. packaging/toolchain.sh
toolchain=$(swift_folder)
PATH=$PATH:$toolchain

# GNU's linker is this machine's, or the one that $GNU begins the path of; an SDK of somebody's own has its own.
sdk=() bfd=-use-ld=bfd objcopy=objcopy
if [ -n "${SWIFT_SDK:-}" ]; then
  sdk=(--swift-sdk "$SWIFT_SDK" ${SWIFT_SDKS:+--swift-sdks-path "$SWIFT_SDKS" --disable-automatic-resolution})
  bfd=${GNU:+-ld-path=${GNU}ld.bfd} objcopy=llvm-objcopy
fi
link=() size=()
linker() { for word in "$@"; do link+=(-Xlinker "$word"); done; }
# Half a megabyte that nothing here reads (CBuildFacts.h).
linker --defsym=_swift_stdlib_getScalarName=CBuildFacts_scalar_name
if [ "$kind" = static ]; then
  link+=(-static-executable $bfd)
  # What GNU's linker does of itself for x86-64 alone: on arm64 all would be one segment, writable and executable.
  linker -z separate-code
  [ -z "$bfd" ] || linker -T "$PWD/packaging/static.ld"
  export LINUXHEAPS_SMALL=1
  # The packages that this one depends on, too.
  size=(-Xswiftc -Osize)
else
  # Nobody looks up a program's symbols.
  linker --no-export-dynamic
  # The little that Swift needs of C++ is smaller than its library's relocations: found before the shared one.
  cxx=$({ clang ${SYSROOT:+--target=aarch64-linux-gnu --sysroot="$SYSROOT"} -print-file-name=libstdc++.a ||
    gcc -print-file-name=libstdc++.a; } 2> /dev/null || true)
  if [ -f "$cxx" ]; then
    mkdir -p "$ship/cxx"
    ln -sf "$cxx" "$ship/cxx/"
    link+=("-L$(realpath "$ship/cxx")")
  fi
  # Relocations in a hundredth of the space (DT_RELR), which is read at each start: by LLVM's linker, where the
  # compiler brings it, and a C library from 2.36 on.
  if [ -x "$toolchain/ld.lld" ]; then
    link+=(-use-ld=lld)
    libc=$(getconf GNU_LIBC_VERSION)
    if printf '%s\n' 'glibc 2.36' "$libc" | sort -CV; then linker -z pack-relative-relocs; fi
  fi
fi
LINUXHEAPS_LINK=$(printf '%s\n' "${link[@]}")
# The C library shows its own functions alone, and has no Swift to be found beside it.
link=("${link[@]/--no-export-dynamic/--gc-sections}")
link+=(-static-stdlib)
# Its thread and what it has called at a fork outlive dlclose(3).
linker --icf=safe -z nodelete -soname "$library" --version-script "$PWD/packaging/linuxheaps.map"
LINUXHEAPS_LINK_LIBRARY=$(printf '%s\n' "${link[@]}")
export LINUXHEAPS_LINK LINUXHEAPS_LINK_LIBRARY

# The linker warns of Foundation's mktemp, and in a static program of each function that may ask for
# users and groups: the C library finds those in /etc/passwd and /etc/group then, and nowhere else.
build() {
  swift build "${sdk[@]}" "${size[@]}" -c release --static-swift-stdlib --scratch-path "$ship" --product "$1" 2>&1 |
    { grep -v "in statically linked applications requires\|the use of .mktemp. is dangerous\|ld.bfd: .*: in function\|ld.bfd: .*: note: the message above" || true; }
}

build_folder() { swift build "${sdk[@]}" -c release --scratch-path "$ship" --show-bin-path; }

# The C library, and all of it again as one object, of which as little is seen.
build_library() {
  local folder swift work
  build linuxheaps
  folder=$(build_folder)
  # For arm64 LLVM's linker (17) joins the objects' attributes as they come, which GNU's (2.47) calls errors, and goes on.
  "$objcopy" --strip-all --remove-section=.ARM.attributes "$folder/liblinuxheaps.so" "$ship/$kind/$library"
  ln -sf "$library" "$ship/$kind/liblinuxheaps.so"
  swift=${SYSROOT:+$SYSROOT/usr/lib/swift_static/linux}
  swift=${swift:-$(dirname "$toolchain")/lib/swift_static/linux}
  work=$(mktemp -d)
  # Of Swift's own libraries what it needs.
  "${GNU:-}ld" -r -o "$work/all.o" $(cat "$folder/linuxheaps.product/Objects.LinkFileList") "$swift"/*/swiftrt.o "-L$swift" --start-group \
    $(cd "$swift" && printf -- '-l:%s ' libswift[A-Z_]*.a) -ldispatch -lBlocksRuntime --end-group
  sed -n '/global:/{s/.*global: *//;s/;//g;p}' packaging/linuxheaps.map | tr ' ' '\n' > "$work/shown"
  "${GNU:-}objcopy" --wildcard --strip-unneeded --keep-global-symbols="$work/shown" "$work/all.o" "$work/linuxheaps.o"
  rm -f "$ship/$kind/liblinuxheaps.a"
  "${GNU:-}ar" rcsD "$ship/$kind/liblinuxheaps.a" "$work/linuxheaps.o"
  rm -r "$work"
}

mkdir -p "$ship/$kind"
[ "$kind" = static ] || build_library
for product in heapctl heapd; do
  build "$product"
  "$objcopy" --strip-all "$(build_folder)/$product" "$ship/$kind/$product"
done

# In C over the C library alone, for it is loaded into other people's programs: what SwiftPM links loads Swift's libraries.
compiler=${CC:-}
[ -n "$compiler" ] || [ -n "${SWIFT_SDK:-}" ] || compiler=clang
[ -z "${SYSROOT:-}" ] || compiler="clang --target=aarch64-linux-gnu --sysroot=$SYSROOT -fuse-ld=bfd"
# What it wraps has the names and types of glibc.
is_glibc() { echo '#include <features.h>' | $compiler -E -dM - 2> /dev/null | grep '__GLIBC__ ' > /dev/null; }
if [ -n "$compiler" ] && { [ -z "${SWIFT_SDK:-}" ] || is_glibc; }; then
  $compiler -std=gnu11 -D_GNU_SOURCE -U_FORTIFY_SOURCE -Wall -Wextra -Werror -O2 -fPIC -fvisibility=hidden -shared \
    -Wl,-z,relro,-z,now,-soname,liblinuxheaps-preload.so -o "$ship/liblinuxheaps-preload.so" Sources/CHeapPreload/*.c
  "$objcopy" --strip-unneeded "$ship/liblinuxheaps-preload.so" "$ship/$kind/liblinuxheaps-preload.so"
fi
find "$ship/$kind" -type f ! -name '*.a' -exec packaging/segments.sh {} +
[ "$kind" = dynamic ] && [ -z "${SWIFT_SDK:-}" ] || exit 0

heapctl=$ship/dynamic/heapctl
mkdir -p "$ship/completions"
for shell in bash zsh fish; do "$heapctl" completion "$shell" > "$ship/completions/$shell"; done
# It is read, not run.
sed -i '1{/^#!/d}' "$ship/completions/bash"

# Pages by swift-argument-parser's own generator, dated by what they are made from.
build generate-manual
rm -rf "$ship/man"
mkdir "$ship/man"
seconds=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2> /dev/null || stat -c %Y CHANGELOG.md)}
"$ship/release/generate-manual" "$heapctl" --multi-page --date "$(date -u -d "@$seconds" +%F)" \
  --output-directory "$ship/man"
# It takes no notice of what is hidden: those pages go, and so do references to them. The others are named
# as man(1) looks for them: `man heapctl verify` shows heapctl-verify(1).
for page in "$ship"/man/heapctl.*.1; do
  verb=$(basename "$page" .1)
  verb=${verb#heapctl.}
  if "$heapctl" --help | grep "^  $verb\( \|$\)" > /dev/null; then
    sed -e "s/^\.Dt HEAPCTL\./.Dt HEAPCTL-/" -e "/^\.Sh NAME/{n;s/.*/.Nm heapctl-$verb/}" \
      -e "/^\.Sh SYNOPSIS/{n;s/.*/.Nm \"heapctl $verb\"/}" "$page" > "$ship/man/heapctl-$verb.1"
    sed -i "s/^\.Xr heapctl\.$verb 1/.Xr heapctl-$verb 1/" "$ship/man/heapctl.1"
  else
    sed -i "/^\.Xr heapctl\.$verb 1/d" "$ship/man/heapctl.1"
  fi
  rm "$page"
done
# "0 on success" is not all that there is to say.
status=$("$heapctl" --help | sed -n 's/^ *\([0-9]\{1,2\}\)  *\([a-z].*\)/\1 \2/p' | paste -sd ';' | sed 's/;/; /g').
sed -i "s/^\.Ex -std.*/$status/" "$ship"/man/*.1
# A paragraph is a macro's; no list of references ends in a comma, and the last line has an end.
sed -i -e 's/^$/.Pp/' -e '$s/ ,$//' -e '$a\' "$ship"/man/*.1
