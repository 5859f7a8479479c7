#!/usr/bin/env bash
# test.sh: programs and libraries of Debian sid with heaps' buffers, in the kernel `next`: unmodified ones, and by the C interface.
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")
root=$("$here/build.sh")
exec "$here/../Kernel/boot.sh" next "$here/guest.sh" "$root"
