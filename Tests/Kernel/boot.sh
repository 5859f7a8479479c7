#!/usr/bin/env bash
# boot.sh next|lts|stock|stock-next COMMAND...: boots the kernel over this machine's own file system, which the
# guest sees copy-on-write, runs the command in this folder and ends with its exit status.
# QEMU_OPTIONS in the environment gives the machine more devices, PARAMETERS its kernel more words, MEMORY another size than 2G.
# Two processors, or LINUXHEAPS_PROCESSORS. Where no hardware virtualisation works, times inside are those of an
# emulated processor.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -ge 2 ] || die "usage: boot.sh next|lts|stock|stock-next COMMAND..."
kernel=$1
shift
image=$("$here/image.sh" "$kernel")
vng=$cache/venv/bin/vng
[ -x "$vng" ] || die "virtme-ng is missing: run 'make setup-kernel'"

# Three virtual cameras: one that needs physically contiguous memory, one that takes any, and one that
# takes any through the multi-planar interface (Documentation/admin-guide/media/vivid.rst).
cameras="vivid.n_devs=3 vivid.node_types=0x1,0x1,0x1 vivid.allocators=1,0,0 vivid.multiplanar=1,1,2"

# virtme-ng's own flags, and the host's files cached: they do not change meanwhile
# (Documentation/filesystems/9p.rst). A process starts in three quarters of the time.
root="rootflags=version=9p2000.L,trans=virtio,access=any,msize=524288,cache=loose"

# Control groups are charged for the system heap's memory where the kernel can do so (7.3): ControlGroupLimitTests.
accounting="dma_heap.mem_accounting=1"

say "booting $(cat "$image/release")"
virtualisation=--disable-kvm
if has_virtualisation "$image"; then virtualisation=; fi
# What the command prints is shown as it comes, and kept to tell a guest that did not start from a command that failed.
output=$(mktemp)
trap 'rm -f "$output"' EXIT
status=0
# Through a pipe: virtme-ng truncates and overwrites a regular file.
PATH=$cache/venv/bin:$PATH "$vng" --run "$image/vmlinuz" $virtualisation --force-9p --cpus "${LINUXHEAPS_PROCESSORS:-2}" --memory "${MEMORY:-2G}" --cwd "$PWD" \
  --append "loglevel=3" --append "$guest_parameters" --append "$root" --append "$cameras $accounting ${PARAMETERS:-}" ${QEMU_OPTIONS:+--qemu-opts="$QEMU_OPTIONS"} \
  --exec "echo 'the guest is up'; PATH=$PATH $(printf '%q ' "$@")" < /dev/null 2>&1 | tee "$output" || status=$?
grep -q '^the guest is up' "$output" || die "the guest did not come as far as its command; QEMU or virtme-ng ended with $status"
exit "$status"
