#!/usr/bin/env bash
# vulkan.inside.sh: the Vulkan example with Mesa's lavapipe, which imports a heap's buffer and draws into it between two sync_files; and
# programs that differ from it in what has to make them fail.
#
# What lavapipe 26.2 does:
# - It waits for the sync_file that it imports in a thread of its own. What it exports has always signalled: vkGetSemaphoreFdKHR() itself
#   waits for the drawing, so that nobody is seen waiting for its fence. Where it has no /dev/udmabuf to take a fence from, it exports -1.
# - A process that may not open /dev/udmabuf has no VK_EXT_image_drm_format_modifier. It imports dma-bufs all the same.
set -uo pipefail
failed=0
work=$(mktemp -d)
chmod 755 "$work"
socket=$work/heap.sock
export VK_DRIVER_FILES=/usr/share/vulkan/icd.d/lvp_icd.json MESA_SHADER_CACHE_DISABLE=true
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
pass() { echo "pass  $*"; }
fail() {
  echo "FAIL  $*"
  sed 's/^/      /' "$work/said"
  failed=1
}
# draws WORD... -- COMMAND...: both pictures are right.
draws() {
  local words=()
  while [ "$1" != -- ]; do words+=("$1") && shift; done
  shift
  timeout 60 "$@" > "$work/said" 2>&1 && [ "$(grep -c '^4096 of 4096 pixels are right$' "$work/said")" = 2 ] &&
    pass "${words[@]}" || fail "${words[@]}"
}
# said WORDS PATTERN: the last command did.
said() { grep -q "$2" "$work/said" && pass "$1" || fail "$1"; }

for heap in system default_cma_region udmabuf; do
  draws "a triangle in a buffer of $heap" -- /build/triangle "$heap"
  said "once the painter's fence has signalled" 'the painter.s pending before draw()'
done
said "by lavapipe, with DRM's modifier" '^llvmpipe .*: linear by DRM.s modifier$'

/build/heapd --socket "$socket" --mode 0666 > "$work/log" 2>&1 &
heapd=$!
for _ in $(seq 100); do [ -S "$socket.observer" ] && break; sleep 0.1; done
draws "a triangle in a buffer of heapd's" -- /build/triangle --socket "$socket"
draws "the same for a user with no right on a heap" -- "${nobody[@]}" /build/triangle --socket "$socket"
said "without DRM's modifier" '^llvmpipe .*: linear by Vulkan.s tiling$'
kill "$heapd" && wait "$heapd" || fail "heapd: $(cat "$work/log")"

for other in undrawn early elsewhere; do
  timeout 60 "/build/triangle-$other" system > "$work/said" 2>&1
  [ $? = 1 ] && grep -q '^2920 of 4096 pixels are right$' "$work/said" && pass "$other fails" || fail "$other fails"
done
timeout 60 /build/triangle no-such-heap > "$work/said" 2>&1 && fail "a heap that is not there"
said "a heap that is not there is told" '^error: .*no-such-heap'
exit "$failed"
