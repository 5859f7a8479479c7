#!/usr/bin/env bash
# arm64-tests.sh FOLDER: the tests' bundle for arm64, with the shared libraries that it loads, into FOLDER.
# What is built is kept in .build-ship/arm64/tests. Needs root.
set -euo pipefail
folder=$(realpath -m "${1:?usage: arm64-tests.sh FOLDER}")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# As with Debian's own compiler for this machine (swift-6.2.sh): there is no library that joins Testing and Foundation. The Testing
# library is a shared one alone.
Tests/Toolchains/arm64.sh bash -euc '
  swift build --build-tests --disable-xctest --swift-sdk arm64-shared -Xswiftc -use-ld=lld -Xlinker --strip-all --swift-sdks-path "$SWIFT_SDKS" --scratch-path /build/tests \
    --disable-automatic-resolution -Xswiftc -Xfrontend -Xswiftc -disable-cross-import-overlays
  rm -rf /build/bundle
  mkdir /build/bundle
  cp /build/tests/debug/linux-heapsPackageTests.xctest /build/bundle/tests
  cp -L "$SYSROOT"/usr/libexec/swift/lib/swift/linux/*.so "$SYSROOT"/usr/lib/aarch64-linux-gnu/{libdrm.so.2,libgcc_s.so.1,libstdc++.so.6,libxml2.so.16} /build/bundle
  # Of Swift'\''s own libraries no test loads these.
  rm /build/bundle/{lib_InternalSwiftStaticMirror,libswiftRemoteMirror,libFoundationNetworking}.so'
mkdir -p "$folder"
cp .build-ship/arm64/bundle/* "$folder"
