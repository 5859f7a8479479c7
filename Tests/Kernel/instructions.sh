#!/usr/bin/env bash
# instructions.sh: what an allocation takes on arm64-4k and on next, in instructions of kernel and program: one processor, whose
# clock QEMU moves by a nanosecond with each (-icount). Without hardware virtualisation.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

cd "$here/../.."
export LINUXHEAPS_PROCESSORS=1 QEMU_OPTIONS="-icount shift=0"
Tests/Kernel/arm64.sh arm64-4k instructions
Tests/Kernel/boot.sh next .build-ship/static/heapctl bench --heap system --sizes 4K,1M --rounds 200
