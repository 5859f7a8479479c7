#!/usr/bin/env bash
# boot.sh next|stock-next COMMAND...: boots the kernel with a real systemd, runs the command there as a unit
# once the machine is up, shows its output as it comes and ends with its exit status.
# Inside, the package's folder is /package, read-only, and there is no Swift runtime: the programs have it inside;
# the rest is thrown away after the run. No network; where the machine is emulated, so are times inside. What hangs is
# ended after $LINUXHEAPS_BOOT_LIMIT seconds (600).
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

[ $# -ge 2 ] || die "usage: boot.sh next|stock-next COMMAND..."
[ -n "$(command -v qemu-system-x86_64)" ] || die "QEMU is missing: run 'make setup-systemd'"
limit=${LINUXHEAPS_BOOT_LIMIT:-600}
image=$("$here/image.sh" "$1")
shift
root=$("$here/systemd/root.sh")
machine_options=$(qemu_machine "$image")
work=$(mktemp -d "$cache/run.XXXXXX")
machine=
trap '[ -z "$machine" ] || kill "$machine" 2>/dev/null || true; rm -rf "$work"' EXIT

# share NAME FOLDER OPTIONS: a folder that the guest mounts by its name.
shares=()
share() {
  shares+=(-fsdev "local,id=$1,path=$2,security_model=none$3"
    -device "virtio-9p-pci,fsdev=$1,mount_tag=$1")
}
mkdir "$work/share"
# For inside.sh to source.
printf 'command=(%s)\n' "$(printf '%q ' "$@")" > "$work/share/orders"
share package "$(cd "$here/../.." && pwd)" ,readonly=on
share run "$work/share" ""

# A kernel whose drivers are modules gets at its file systems by what a first process loads.
first=()
if [ -d "$image/lib/modules" ]; then
  mkdir -p "$work"/first/{bin,dev,modules,root}
  cp "$(command -v busybox)" "$work/first/bin/"
  number=100
  # The order is that in which they need each other.
  while read -r module; do
    number=$((number + 1))
    case $module in
    *.xz) xz -dc "$module" ;;
    *.zst) zstd -dcq "$module" ;;
    *) cat "$module" ;;
    esac > "$work/first/modules/$number.ko"
  done < <(for module in virtio_blk ext4 9pnet_virtio 9p; do
    modprobe -d "$image" -S "$(cat "$image/release")" --show-depends "$module"
  done | awk '$1 == "insmod" && !seen[$2]++ {print $2}')
  [ "$number" -gt 100 ] || die "$image has none of the modules that its file systems need"
  cat > "$work/first/init" << 'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in /modules/*; do /bin/busybox insmod "$module"; done
until /bin/busybox mount -t ext4 /dev/vda /root; do /bin/busybox sleep 1; done
exec /bin/busybox switch_root /root /lib/systemd/systemd
INIT
  chmod +x "$work/first/init"
  (cd "$work/first" && find . | cpio -o -H newc --quiet) > "$work/initramfs"
  first=(-initrd "$work/initramfs")
fi

begin=$SECONDS
say "booting $(cat "$image/release") with $(awk '$1 == "systemd" {print $1, $2}' "$root/packages")"
# The console goes to a file, the command's output through a port of its own, which QEMU would close
# to the guest were it the stdio of /dev/null. A panic resets the machine, and a reset ends it.
append="root=/dev/vda rw init=/lib/systemd/systemd console=ttyS0 panic=-1 loglevel=4"
append+=" systemd.show_status=yes TERM=dumb $guest_parameters"
exec 3> >(cat)
output=$!
timeout --kill-after=5 "$limit" qemu-system-x86_64 \
  $machine_options -smp "${LINUXHEAPS_PROCESSORS:-2}" -m 2G \
  -nodefaults -display none -nic none -no-reboot \
  -kernel "$image/vmlinuz" "${first[@]}" -append "$append" \
  -drive "file=$root/root.ext4,format=raw,if=virtio,snapshot=on" "${shares[@]}" \
  -serial "file:$work/console" -chardev file,id=output,path=/dev/stdout -device virtio-serial-pci \
  -device virtserialport,chardev=output,name=linux-heaps.output < /dev/null >&3 2>&1 3>&- &
machine=$!
exec 3>&-
status=0
wait "$machine" || status=$?
machine=
wait "$output" || true

give_up() {
  cp "$work/console" "$cache/systemd-console.log"
  tail -n 20 "$work/console" >&2
  die "$*; whole console: $cache/systemd-console.log"
}
say "the machine ran for $((SECONDS - begin)) s"
case $status in
0) ;;
124 | 137) give_up "the machine hung and was killed after $limit s" ;;
*) give_up "QEMU ended with status $status" ;;
esac
if grep -q 'Kernel panic' "$work/console"; then give_up "the kernel panicked"; fi
[ -s "$work/share/status" ] || give_up "the machine ended before the command did"
exit "$(cat "$work/share/status")"
