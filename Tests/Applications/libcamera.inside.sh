#!/usr/bin/env bash
# libcamera.inside.sh: libcamera's tools with its virtual camera, whose frames are buffers of its DmaBufAllocator: on the nodes, and as a user
# with no right on those, by nothing and by heapd. Its compliance tests have to say the same of both, and frames have to be the same.
#
# DmaBufAllocator opens the first that it may of /dev/dma_heap/linux,cma, reserved, system and /dev/udmabuf: here reserved, a second name of
# default_cma_region, which libcamera 0.7 does not know. With heapd's buffers that differs from the nodes as follows:
# - /dev/udmabuf is no heap: without a heap that heapd has, this user has no camera, where root has udmabuf's.
# - A buffer's count is one more: heapd's own reference.
# - What heapd calls a buffer, lh:cam.INDEX, is gone from the kernel, since libcamera gives its own name to each (DMA_BUF_SET_NAME). heapd
#   knows the buffer's program by (collection, index) and process all the same.
set -uo pipefail
failed=0
work=$(mktemp -d)
cd "$work" || exit 1
chmod 755 .
mkdir node none heapd full
: > said > found
chown 65534 none heapd full
socket=$work/heap.sock
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
served=("${nobody[@]}" /build/heapctl run --socket "$socket" --)
export LIBCAMERA_LOG_LEVELS=DmaBufAllocator:DEBUG LIBCAMERA_LOG_NO_COLOR=1
pass() { echo "pass  $*"; }
fail() {
  echo "FAIL  $*"
  sed 's/^/      /' said found
  failed=1
}
# check WORDS COMMAND...: the command succeeds.
check() { "${@:2}" > found 2>&1 && pass "$1" || fail "$1"; }
# Debian's package has no configuration, and so no camera.
mkdir -p share/libcamera/pipeline/virtual
cat > share/libcamera/pipeline/virtual/virtual.yaml << 'EOF'
%YAML 1.1
---
"Bars":
  supported_formats:
  - width: 320
    height: 240
  test_pattern: "bars"
EOF
mount -t overlay overlay -o lowerdir="$work/share:/usr/share" /usr/share
capture() { cam --camera Bars --capture=5 --file="$1/#.bin"; }
serve() {
  /build/heapd --socket "$socket" --mode 0666 "$@" > log 2>&1 &
  heapd=$!
  for _ in $(seq 100); do [ -S "$socket.observer" ] && break; sleep 0.1; done
}
stop() {
  kill "$heapd" && wait "$heapd" || fail "heapd: $(cat log)"
}
export -f capture

cam --version
capture node > said 2>&1
check "root captures into the node's buffers" grep -q 'Using /dev/dma_heap/reserved' said
check "5 frames, which differ" [ "$(sha256sum node/*.bin | cut -d' ' -f1 | sort -u | wc -l)" = 5 ]

"${nobody[@]}" bash -c 'capture none' > said 2>&1 && fail "a user without a right on the nodes captures"
check "such a user has no buffers" grep -q "Could not open any dma-buf provider" said
LD_PRELOAD=/build/liblinuxheaps-preload.so LINUXHEAPS_PRELOAD=$socket "${nobody[@]}" bash -c 'capture none' > said 2>&1 &&
  fail "such a user captures without heapd"
check "nor without heapd" grep -q "Could not open any dma-buf provider" said
check "and no frames" [ -z "$(ls none)" ]

serve
"${served[@]}" bash -c 'capture heapd' > said 2>&1 || fail "such a user captures"
check "such a user captures into heapd's buffers" grep -q 'Using /dev/dma_heap/reserved' said
check "the frames are those of the node's" diff -r node heapd

# compliance COMMAND...: what libcamera's tests say, without times.
compliance() { "$@" lc-compliance --camera Bars 2> said | sed -E 's/ \([0-9]+ ms( total)?\)//' | grep -v '^Note: Randomizing'; }
compliance env > node.tests
compliance "${served[@]}" > heapd.tests
check "$(grep -c '^\[       OK' node.tests) compliance tests pass" grep -q '^\[  PASSED  \] [1-9]' node.tests
check "none fails" [ -z "$(grep '^\[  FAILED' node.tests)" ]
check "and they say the same of heapd's buffers" diff node.tests heapd.tests

"${served[@]}" cam --camera Bars --capture > said 2>&1 &
camera=$!
for _ in $(seq 100); do grep -q 'seq: 0*50 ' said && break; sleep 0.1; done
/build/heapctl info --socket "$socket" --json > report 2> said
collection=$((36#cam))
check "heapd has its 4 buffers by the program's name and process" \
  [ "$(grep -o "{\"collection\":$collection,[^}]*\"user\":65534,\"process\":$camera,\"orphan\":false}" report | wc -l)" = 4 ]
/build/heapctl holders --pid "$camera" > holders 2> said
check "heapctl holders has them by libcamera's names" [ "$(grep -c ' frame-[0-3]$' holders)" = 4 ]
kill -INT "$camera"
wait "$camera" || fail "cam, interrupted"
for _ in $(seq 50); do /build/heapctl info --socket "$socket" --json | grep -q '"buffers":\[\]' && break; sleep 0.1; done
check "and none once the program has ended" grep -q '"buffers":\[\]' <(/build/heapctl info --socket "$socket" --json)
stop

echo 'connection-buffers = 3' > heapd.conf
serve --config heapd.conf
"${served[@]}" bash -c 'capture full' > said 2>&1 && fail "a camera has 4 buffers of a quota of 3"
check "a quota of 3 buffers is a heap without memory" grep -q 'dma-heap allocation failure for frame-3' said
stop

# A memfd takes no name, and this program counts on one.
serve --heap memfd
rm heapd/*
"${served[@]}" bash -c 'capture heapd' > said 2>&1 || fail "such a user captures into memfds"
check "memfds of heapd's serve as well" diff -r node heapd
stop
umount /usr/share
exit "$failed"
