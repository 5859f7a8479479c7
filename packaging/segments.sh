#!/usr/bin/env bash
# segments.sh FILE...: ends with 1 where a program or a shared library has a segment that is writable and executable, or does not say
# that stacks are not: glibc makes every stack of a process executable for one such file (PT_GNU_STACK, elf/dl-load.c).
set -euo pipefail
status=0
for file; do
  segments=$(LC_ALL=C readelf -lW "$file")
  if grep -E '^  [A-Z0-9_+x]+ .* [R ]WE ' <<< "$segments" >&2; then
    echo "error: a segment of $file is writable and executable" >&2
    status=1
  fi
  if ! grep -qE '^  GNU_STACK .* RW  ' <<< "$segments"; then
    echo "error: $file does not say that its stack is not executable" >&2
    status=1
  fi
done
exit "$status"
