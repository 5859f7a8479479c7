#!/usr/bin/env bash
# parameters.sh: boots `next` with a command line that leaves no contiguous memory and charges nothing, carries out what heapctl doctor
# says of it on the settings of a boot loader, and boots again with the words that these have then.
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [ "${1:-}" != inside ]; then
  words="quiet cma=0 dma_heap.mem_accounting=0"
  for state in told gone; do
    PARAMETERS=$words "$here/boot.sh" next "$here/as-host.sh" "$here/parameters.sh" inside "$state" | tee "$cache/parameters.log"
    [ "${PIPESTATUS[0]}" = 0 ] || die "parameters: FAILED: $state"
    words=$(sed -n 's/^the boot loader has: //p' "$cache/parameters.log" | tr -d '\r')
  done
  say "parameters: passed"
  exit
fi

. "$here/programs.sh"
. "$here/doctor.sh"
causes="contiguous.no-region memory.uncharged"
if [ "$2" = gone ]; then
  for cause in $causes; do [ -z "$(fix "$cause" "$build/heapctl")" ] || die "$cause is still told, with $(cat /proc/cmdline)"; done
  "$build/heapctl" alloc --contiguous --size 1M
  exit
fi
mount -t tmpfs none /etc/default
echo "GRUB_CMDLINE_LINUX=\"quiet cma=0 dma_heap.mem_accounting=0\"" > /etc/default/grub
stands=$(mktemp -d)
printf '#!/bin/sh\nexec "$@"\n' > "$stands/sudo"
# What reads the settings: a boot loader has the words after it.
printf '#!/bin/bash\n. /etc/default/grub\necho "the boot loader has: $GRUB_CMDLINE_LINUX"\n' > "$stands/update-grub"
cp "$stands/update-grub" "$stands/grub-mkconfig"
chmod 755 "$stands"/*
for cause in $causes; do
  command=$(fix "$cause" "$build/heapctl" || true)
  say "$cause: $command"
  [ -n "$command" ] || die "$cause is not told, with $(cat /proc/cmdline)"
  PATH=$stands:$PATH sh -c "$command"
done
