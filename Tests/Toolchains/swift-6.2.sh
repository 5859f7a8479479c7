#!/usr/bin/env bash
# swift-6.2.sh [COMMAND...]: builds this package and runs its tests with Debian sid's own compiler, Swift 6.2,
# in a root of its own that is made once (sid.sh); or runs COMMAND there, in the package's folder. Needs root.
# Exits with 77, and a line that says why, where Debian's archive has no such compiler. What is built is kept in .build-6.2.
. "$(dirname "${BASH_SOURCE[0]}")/sid.sh"

build=$tree/.build-6.2
mkdir -p "$build/package"
prepare_swift_root
write_home
if [ $# -gt 0 ]; then
  inside "$@"
  exit
fi
# Debian's package has the module that joins Testing and Foundation, but not its library.
without_overlays=(-Xswiftc -Xfrontend -Xswiftc -disable-cross-import-overlays)
package=(--scratch-path /build/package --disable-automatic-resolution "${without_overlays[@]}")
say "building with $(inside swift --version 2> /dev/null | head -n 1)"
inside swift build --build-tests "${package[@]}"
# A browser would be more than all the rest: the other compiler's run has it.
browser='BrowserTests|what is written can be read on its ground|all heaps pass, in every format'
say "testing, without what needs a browser"
inside swift test --skip-build --no-parallel "${package[@]}" --skip "$browser"
say "building what depends on the package"
inside Tests/Packaging/dependent.sh "${without_overlays[@]}"
say "passed"
