#!/usr/bin/env bash
# package.sh PACKAGE: runs inside what boot.sh boots: the Debian package installed, used, installed
# again over itself, removed, installed, and purged.
set -uo pipefail
package=$1
failed=0
# expect WHAT SEEN EXPECTED
expect() {
  [ "$2" = "$3" ] && echo "pass  package: $1" && return
  echo "FAIL  package: $1: $2, not $3"
  failed=1
}
name=$(dpkg-deb -f "$package" Package)
units="heapd.socket heapd-observer.socket heapd.service"
state() { for unit in $units; do systemctl is-active "$unit"; done | xargs; }
# Files that were not there before. What dpkg, systemd and the users' database keep of themselves does not count.
files() { find / -xdev -newer /tmp/before \( -type f -o -type l \) ! -path '/tmp/*' ! -path '/var/lib/dpkg/*' \
  ! -path '/var/log/*' ! -path '/etc/passwd*' ! -path '/etc/group*' ! -path '/etc/shadow*' ! -path '/etc/gshadow*' \
  ! -path '/etc/.pwd.lock' ! -path '/var/cache/*' ! -path '/var/lib/systemd/*' | sort | xargs; }
as() { setpriv --reuid=65534 --regid=65534 --groups "$1" "${@:2}" 2>&1; }
socket=/run/heapd/heap.sock

touch /tmp/before
sleep 1
dpkg -i "$package" > /tmp/log 2>&1
expect "dpkg -i" "$?" 0
expect "the sockets listen, the service waits for a client" "$(state)" "active active inactive"
expect "they are enabled" "$(systemctl is-enabled heapd.socket heapd-observer.socket | xargs)" "enabled enabled"
expect "the metrics are not" "$(systemctl is-enabled heapd-metrics.socket)" disabled
udevadm settle
expect "the heaps have the group" "$(stat -c %U:%G:%a /dev/dma_heap/* | sort -u)" root:dmaheap:660
expect "and links" "$(ls /dev/dma_heap-by-role | xargs)" "contiguous system"
expect "another user is refused by the socket" \
  "$(as "$(getent group dmaheap | cut -d: -f3)" heapctl alloc --size 1M --socket $socket > /dev/null; echo $?)" 77
text=$(as "$(getent group heapd-clients | cut -d: -f3)" heapctl alloc --size 1M --contiguous --socket $socket)
expect "a client is served: $text" "$?" 0
# An unmodified program, which opens the node itself.
node='import fcntl, os, struct
heap = os.open("/dev/dma_heap/system", os.O_RDONLY)
data = fcntl.ioctl(heap, 0xC0184800, struct.pack("<QIIQ", 5000, 0, os.O_RDWR | os.O_CLOEXEC, 0))
print(os.lseek(struct.unpack_from("<I", data, 8)[0], 0, os.SEEK_END))'
expect "it may not open the heap itself" "$(as "$(getent group heapd-clients | cut -d: -f3)" python3 -c "$node" | grep -c PermissionError)" 1
expect "and has its buffer with heapctl run" \
  "$(as "$(getent group heapd-clients | cut -d: -f3)" heapctl run -- python3 -c "$node")" 8192
expect "by the service" "$(state)" "active active active"
expect "which is what is installed" "$(heapd --version | xargs)" \
  "$("/proc/$(systemctl show --value -p MainPID heapd)/exe" --version | xargs)"
expect "dpkg --verify" "$(dpkg --verify "$name" | grep -v ' /usr/share/')" ""

process=$(systemctl show --value -p MainPID heapd)
dpkg -i "$package" > /tmp/log 2>&1
expect "over itself" "$?" 0
expect "the service is the new one" "$([ "$(systemctl show --value -p MainPID heapd)" != "$process" ] && state)" "active active active"
heapctl alloc --size 1M --socket $socket > /dev/null 2>&1
expect "and serves" "$?" 0

echo "user-buffers = 7" >> /etc/heapd.conf
dpkg -r "$name" > /tmp/log 2>&1
expect "dpkg -r" "$?" 0
expect "all is stopped" "$(state)" "inactive inactive inactive"
expect "no socket is left" "$(ls /run/heapd 2> /dev/null)" ""
udevadm settle
expect "no link either" "$(ls /dev/dma_heap-by-role 2> /dev/null)" ""
expect "the configuration is" "$(tail -n 1 /etc/heapd.conf)" "user-buffers = 7"
dpkg -i --force-confold "$package" > /tmp/log 2>&1
expect "installed anew" "$? $(state)" "0 active active inactive"
expect "with the configuration as it was" "$(tail -n 1 /etc/heapd.conf)" "user-buffers = 7"
dpkg -P "$name" > /tmp/log 2>&1
expect "dpkg -P" "$?" 0
expect "nothing is left" "$(files)" ""
expect "nor masked" "$(systemctl list-unit-files --no-legend 'heapd*')" ""
expect "the machine is well" "$(systemctl is-system-running)" running
[ "$failed" = 0 ] && echo "package-test: passed" || tail -n 20 /tmp/log
exit "$failed"
