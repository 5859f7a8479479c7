#!/usr/bin/env bash
# guest.sh PROGRAM...: runs inside what boot.sh boots, in the package's folder: those of this folder's programs, and then asks
# whether the kernel has a dma-buf or a complaint left. `facts` is what systemd gives to a daemon, `heapd` and `hearing` are
# heapd under its own units, and `fixes` what heapctl tells to do of units and of udevd.
set -uo pipefail
failed=0
fail() {
  echo "systemd-test: FAILED: $*"
  failed=1
}

# The group first: udev looks it up when it reads the rule.
mkdir -p /etc/sysusers.d
cp udev/dmaheap.sysusers /etc/sysusers.d/dmaheap.conf
systemd-sysusers
cp udev/00-linux-heaps.rules /etc/udev/rules.d/
Tests/Kernel/udev-rules.sh change
# udevd is done by now, and systemd hears of it after that: to start a device's unit is to wait for it.
timeout 60 systemctl start dev-dma_heap-system.device || fail "no device unit of a heap"
state=$(systemctl is-system-running) ||
  fail "the machine is $state: $(systemctl --failed --plain --no-legend)"

for program in "$@"; do
  python3 "Tests/Kernel/systemd/$program.py" || fail "$program: $(journalctl -u heapd -o cat --no-pager)"
done

bufinfo=/sys/kernel/debug/dma_buf/bufinfo
tail -n 1 "$bufinfo"
grep -q '^Total 0 objects' "$bufinfo" || fail "dma-bufs are left: $(cat "$bufinfo")"
if dmesg | grep -E 'BUG:|KFENCE|WARNING:|Oops|Out of memory'; then fail "the kernel complained"; fi
[ "$failed" = 0 ] && echo "systemd-test: $* passed on $(uname -r), $(systemctl --version | head -n 1)"
exit "$failed"
