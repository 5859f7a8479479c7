#!/usr/bin/env bash
# compile.sh: runs inside Debian sid (build.sh), in the package's folder: compiles into /build what uses the C interface with its libraries.
set -euo pipefail
cp .build-ship/dynamic/{heapctl,heapd,liblinuxheaps.so.0,liblinuxheaps-preload.so} /build
ln -sf liblinuxheaps.so.0 /build/liblinuxheaps.so
include=-ISources/CLinuxHeapsInterface/include
options=(-std=gnu11 -O1 -g -Wall -Wextra -Werror "$include")
libraries=(-L/build -llinuxheaps -Wl,-rpath,/build)

# The Rust example; what it declares is what the headers do.
export RUSTFLAGS="-D warnings -L /build -C link-arg=-Wl,-rpath,/build"
cargo build --quiet --offline --locked --manifest-path Examples/Rust/Cargo.toml --target-dir /build/rust --examples
export BINDINGS=/build/bindings
mkdir -p "$BINDINGS"
printf '#include <%s>\n' linuxheaps.h dmabufheap.h > "$BINDINGS/headers.h"
# bind NAME OPTION...: without a warning.
bind() {
  bindgen "$BINDINGS/headers.h" --formatter prettyplease --no-doc-comments --no-prepend-enum-name --generate-cstr \
    --allowlist-file '.*/CLinuxHeapsInterface/.*' -o "$BINDINGS/$1.rs" "${@:2}" -- "$include" 2> "$BINDINGS/warnings"
  [ ! -s "$BINDINGS/warnings" ] || { cat "$BINDINGS/warnings"; return 1; }
}
bind bindings
bind functions --generate functions
declared() { sed -nE 's/^ *pub (fn|const) ([A-Za-z_]+).*/\1 \2/p' "$1" | sort; }
diff <(declared Examples/Rust/src/sys.rs) <(declared "$BINDINGS/bindings.rs")
sed -n '/^const _: () = {/,/^};/p' "$BINDINGS/bindings.rs" > "$BINDINGS/layouts.rs"
{
  echo '{'
  declared "$BINDINGS/bindings.rs" |
    sed -E 's/^fn (.*)/let _ = [sys::\1, functions::\1];/; s/^const (.*)/compare(\&sys::\1, \&bindings::\1, "\1");/'
  echo '}'
} > "$BINDINGS/comparisons.rs"
rustc --edition 2024 $RUSTFLAGS -o "$BINDINGS/header" Tests/Applications/header.rs
"$BINDINGS/header"

# The Vulkan example, and three like it that have to fail: they draw nothing, wait for nobody, draw into other memory.
for stage in vert frag; do
  glslangValidator --quiet -V --vn "${stage}_code" -o "/build/triangle.$stage.h" "Examples/Vulkan/triangle.$stage"
done
triangle() {
  sed "$2" Examples/Vulkan/draw.c > "/build/$1.draw.c"
  gcc "${options[@]}" -IExamples/Vulkan -I/build Examples/Vulkan/triangle.c "/build/$1.draw.c" -o "/build/$1" "${libraries[@]}" -lvulkan
}
triangle triangle ''
triangle triangle-undrawn '/vkCmdDraw/d'
triangle triangle-early 's/\.waitSemaphoreCount = 1/.waitSemaphoreCount = 0/'
triangle triangle-elsewhere 's/\.pNext = &imported/.pNext = imported.pNext/'

# GStreamer finds the element by its file's prefix, and beside it the plugins that are used, so that it reads no other.
mkdir -p /build/plugins
modules=$(pkg-config --cflags --libs gstreamer-video-1.0 gstreamer-allocators-1.0 libdrm)
gcc "${options[@]}" -shared -fPIC -o /build/plugins/libgstheapbuffers.so Examples/GStreamer/heapbuffers.c $modules "${libraries[@]}"
gcc "${options[@]}" -o /build/gstreamer Tests/Applications/gstreamer.c $modules "${libraries[@]}"
ln -sf "$(pkg-config --variable=pluginsdir gstreamer-1.0)"/libgst{coreelements,video4linux2,kms}.so /build/plugins
