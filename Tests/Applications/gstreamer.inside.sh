#!/usr/bin/env bash
# gstreamer.inside.sh: in Debian sid in a booted kernel, as root: frames of vivid's cameras in buffers of heaps, by Examples/GStreamer, on
# vkms's screen, never copied: a node's buffers, and a service's for a user who may open no node. The cameras' own buffers and the
# display's have to be found out.
set -euo pipefail
work=$(mktemp -d)
chmod 755 "$work"
export GST_PLUGIN_SYSTEM_PATH_1_0=/build/plugins GST_REGISTRY=$work/registry GST_REGISTRY_FORK=no
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

# The first camera needs contiguous memory, the second takes any.
cameras=()
for number in 0 1; do
  cameras+=("/dev/$(basename "$(dirname "$(grep -l "vivid-00$number-vid-cap" /sys/class/video4linux/*/name)")")")
done
modes=$(stat -c '%a %n' "${cameras[@]}" /dev/dri/card*)
/build/heapd --socket "$work/heap.sock" --mode 0666 2> "$work/log" &
heapd=$!
end() {
  while read -r mode node; do chmod "$mode" "$node"; done <<< "$modes"
  kill "$heapd" || cat "$work/log"
  rm -r "$work"
}
trap end EXIT
for _ in $(seq 100); do [ -S "$work/heap.sock.observer" ] && break; sleep 0.1; done

# play HEAP CAMERA IO-MODE ELEMENT [AS...]: the camera's frames in the heap's buffers on the screen, by the element, as somebody.
caps="video/x-raw,format=BGRx,width=640,height=480"
play() {
  "${@:5}" /build/gstreamer "$1" vkms "v4l2src device=${cameras[$2]} num-buffers=12 io-mode=$3 ! $caps ! $4" \
    3< /sys/kernel/debug/dma_buf/bufinfo
}
# refuse TEXTS HEAP CAMERA IO-MODE ELEMENT [AS...]: that fails, and says each line of TEXTS.
refuse() {
  local text status=0
  play "${@:2}" > "$work/said" 2>&1 || status=$?
  while read -r text; do grep -q "$text" "$work/said" || status=0; done <<< "$1"
  [ "$status" = 1 ] && return
  echo "FAIL  not found out: io-mode=$4 ! $5"
  cat "$work/said"
  return 1
}

play default_cma_region 0 dmabuf-import "heapbuffers heap=default_cma_region"
caps="video/x-raw(memory:DMABuf),format=DMA_DRM,drm-format=XR24,width=640,height=480" play system 1 dmabuf-import heapbuffers
refuse "frame 1 is in no dma-buf
the display scans out a buffer of drm, and frame 1 is not in that" default_cma_region 0 mmap identity
refuse "frame 1 is in a buffer of videobuf2_dma_contig
is none of the heap's" default_cma_region 0 dmabuf identity

chmod a+rw "${cameras[@]}" /dev/dri/card*
refuse "heapbuffers0: open heap .*ACCESS_DENIED. To fix it: " \
  default_cma_region 0 dmabuf-import "heapbuffers heap=default_cma_region" "${nobody[@]}"
play default_cma_region 0 dmabuf-import "heapbuffers socket=$work/heap.sock contiguous=true" "${nobody[@]}"

# README's line.
read -r _ _ line < <(grep '^gst-launch-1.0 v4l2src ' README.md)
gst-launch-1.0 -q v4l2src num-buffers=3 device="${cameras[0]}" $line
