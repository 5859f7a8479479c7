#!/usr/bin/env bash
# udev-rules.sh [ACTION]: has udevd read its rules again, and apply them to the heaps.
set -euo pipefail
# udevd looks at its rules with the first event that comes 3 s after the last look (manager_reload in src/udev/udevd.c). Not by
# `udevadm control --reload`, which does not tell whether it was heard: a message that comes between accept and SO_PASSCRED has
# user 65534 as its sender, so that udevd ignores it, and udevadm ends with 0 (systemd 252, 1 in 20 on one emulated processor).
sleep 3.2
exec udevadm trigger --action="${1:-add}" --settle --subsystem-match=dma_heap
