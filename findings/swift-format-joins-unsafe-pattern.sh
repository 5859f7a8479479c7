#!/usr/bin/env bash
# swift-format of Swift 6.3.1 (the toolchain on PATH): a loop over unsafe memory under strict memory safety, `for unsafe x in …`.
#
# Seen: the compiler asks for the word where a buffer's iterator is unsafe and accepts it. `swift format lint` calls the space
# after it a fault ("[Spacing] remove 1 space"), and `swift format` takes it out: `unsafe x` becomes the name `unsafex`, and the
# result does not compile ("cannot find 'x' in scope").
#
# A good engineer would guess: a formatter changes white space where it means nothing, and what compiled goes on to compile; and
# the formatter of a toolchain knows the language of that toolchain.
#
# It matters to whoever walks over a kernel's records (inotify, V4L2, DRM events) in a package with strict memory safety: index
# the buffer instead, or keep the loop from the formatter (`// swift-format-ignore`).
#
# Needs Swift 6.3.1.
set -euo pipefail
swift --version 2> /dev/null | grep -q 'Swift version 6\.3\.1 ' || { echo "this is not Swift 6.3.1" >&2 && exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > sum.swift <<'SWIFT'
func sum(_ records: UnsafeBufferPointer<Int>) -> Int {
  var sum = 0
  for unsafe record in unsafe records { sum += record }
  return sum
}
SWIFT
compiles() { swiftc -typecheck -strict-memory-safety -warnings-as-errors "$1" 2> errors; }
{
  if compiles sum.swift; then echo "as written: compiles"; else echo "as written: does not compile"; fi
  { swift format lint --strict sum.swift 2>&1 || true; } | sed -nE 's/^.*: error: (\[Spacing\].*)$/lint: \1/p'
  swift format sum.swift > formatted.swift
  sed -nE 's/^ *(for .*) \{.*$/formatted: \1/p' formatted.swift
  if compiles formatted.swift; then echo "formatted: compiles"; else echo "formatted: $(sed -nE 's/^.*error: (cannot find .*)$/\1/p' errors | head -n 1)"; fi
} > seen
cat > expected <<'TEXT'
as written: compiles
lint: [Spacing] remove 1 space
formatted: for unsaferecord in unsafe records
formatted: cannot find 'record' in scope
TEXT
cat seen
diff expected seen && echo "as recorded: Swift 6.3.1"
