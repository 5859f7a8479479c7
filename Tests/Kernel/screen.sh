#!/usr/bin/env bash
# screen.sh [--all] [PICTURE.png]: boots `next` with QEMU's own display (bochs-display), has heapctl show a test pattern
# from a heap buffer, and compares what QEMU says is on the screen. With --all `lts` too, which cannot import
# into that display: there heapctl has to say so. With a name, the screen is kept as a PNG.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

all=
if [ "${1:-}" = --all ]; then
  all=1
  shift
fi
heapctl=${HEAPCTL:-.build-ship/dynamic/heapctl}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Waits for the number of lines of this text in the guest's output, or for the guest's end.
wait_for() {
  local count=$1 text=$2 guest=$3
  until [ "$(grep -c "$text" "$work/output")" -ge "$count" ]; do
    kill -0 "$guest" 2> /dev/null || die "the guest ended before '$text': $(cat "$work/output")"
    sleep 0.2
  done
}

touch "$work/output"
QEMU_OPTIONS="-device bochs-display -monitor unix:$work/monitor,server=on,wait=off" "$here/boot.sh" next \
  bash -c "$heapctl show --device bochs-drm --seconds 1; echo status \$?; $heapctl show --device bochs-drm" \
  > "$work/output" 2>&1 &
guest=$!
wait_for 2 '^shown by process' "$guest"
python3 "$here/screen.py" "$work/monitor" "$work/screen.ppm" "${1:-$work/screen.png}" || failed=1
# The monitor's `quit` ends the machine, whatever runs in it.
wait "$guest" || true
cat "$work/output"
[ -z "${failed:-}" ] || die "the screen of next shows something else"
grep -q '^status 0' "$work/output" || die "heapctl show did not end well"
grep -q '^the screen is as before; the buffer is given back and reclaimed' "$work/output" ||
  die "heapctl show did not restore the screen"
say "next: the screen shows the pattern"
[ -n "$all" ] || exit 0

status=0
QEMU_OPTIONS="-device bochs-display" "$here/boot.sh" lts "$heapctl" show --device bochs-drm \
  > "$work/output" 2>&1 || status=$?
cat "$work/output"
[ "$status" = 1 ] || die "lts: heapctl show ended with $status, not with 1"
grep -q '^heapctl: import a dma-buf of reserved into bochs-drm (/dev/dri/card[0-9]*): the driver refuses' "$work/output" ||
  die "lts: heapctl show does not say that the import was refused"
say "lts: the refusal is told"
