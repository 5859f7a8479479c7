#!/usr/bin/env bash
# images.sh KERNEL...: makes the images that are not cached, before anything is booted.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for kernel in "$@"; do "$here/image.sh" "$kernel" > /dev/null; done
