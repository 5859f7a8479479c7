#!/usr/bin/env bash
# Runs inside as linux-heaps-guest.service, which has mounted the shares `package` and `run`: does
# what boot.sh ordered and leaves the command's exit status beside the orders. Without one, boot.sh
# fails.
set -euo pipefail
command=()
. /run/host/orders
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export SWIFT_BACKTRACE=enable=no

# Till udev has named all devices, the port among them.
udevadm settle
cd /package
# The port has one opener at a time: through a pipe the command's children share it.
exec 3> >(exec cat > /dev/virtio-ports/linux-heaps.output)
output=$!
status=0
"${command[@]}" < /dev/null >&3 2>&1 3>&- || status=$?
exec 3>&-
wait "$output"
echo "$status" > /run/host/status
