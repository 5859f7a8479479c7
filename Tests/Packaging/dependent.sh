#!/usr/bin/env bash
# dependent.sh: a package that depends on this one by URL and version builds and runs, with the swift that is
# found. What it gets is HEAD, as 0.1.0.
set -euo pipefail
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# It is somebody else's build.
unset LINUXHEAPS_STRICT

git clone -q "file://$tree" "$work/linux-heaps"
git -C "$work/linux-heaps" tag 0.1.0
mkdir -p "$work/dependent/Sources/dependent"
cat > "$work/dependent/Package.swift" << EOF
// swift-tools-version: 6.2
import PackageDescription

let package = Package(
  name: "dependent",
  dependencies: [.package(url: "file://$work/linux-heaps", from: "0.1.0")],
  targets: [
    .executableTarget(
      name: "dependent",
      dependencies: ["LinuxHeaps", "HeapClient", "HeapTestKit"].map {
        .product(name: \$0, package: "linux-heaps")
      })
  ])
EOF
cat > "$work/dependent/Sources/dependent/main.swift" << 'EOF'
import HeapClient
import HeapTestKit
import LinuxHeaps

let vmo = try MemfdHeap().allocateVmo(
  size: 1 << 20, settings: SingleBufferSettings(), bufferCollectionID: 7, bufferIndex: 0)
let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
print("a slice at \(slice.offset / pageSize) page")

do {
  _ = try RemoteHeap(socket: "/nowhere/heap.sock")
} catch {
  print("no service: \(error.code)")
}

let heap = HeapUnderTest.memfd
let checks = HeapCheck.all(for: heap).filter { $0.name == "child-by-mapping" }
for check in checks { print("\(check): \(await check.run(on: heap))") }
EOF
expected='a slice at 1 page
no service: NOT_FOUND
child-by-mapping: passed([])'

cd "$work/dependent"
# Nothing of it stays in the caches of whoever runs this.
swiftpm=(--disable-dependency-cache --cache-path "$work/cache" --security-path "$work/security")
swift build "${swiftpm[@]}"
seen=$(swift run --skip-build "${swiftpm[@]}" dependent)
if [ "$seen" != "$expected" ]; then
  echo "FAIL  dependent: it prints"
  diff <(echo "$expected") <(echo "$seen") | sed 's/^/      /'
  exit 1
fi
echo "pass  dependent: a package that depends on LinuxHeaps, HeapClient and HeapTestKit builds and runs"
