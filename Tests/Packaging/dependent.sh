#!/usr/bin/env bash
# dependent.sh [OPTION...]: a package that depends on this one by URL and version builds and runs README's program and the
# Examples, with the swift that is found and SwiftPM's options. What it gets is HEAD, as 0.1.0.
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
      name: "dependent", dependencies: products("LinuxHeaps", "HeapClient", "HeapTestKit")),
    .executableTarget(name: "readme", dependencies: products("LinuxHeaps")),
    .executableTarget(
      name: "swap-chain", dependencies: products("LinuxHeaps"), path: "Examples/SwapChain"),
    .executableTarget(
      name: "heap-client", dependencies: products("LinuxHeaps", "HeapClient"),
      path: "Examples/Client"),
    .testTarget(
      name: "BoardTests", dependencies: products("LinuxHeaps", "HeapTestKit"),
      path: "Examples/BoardTest"),
  ])

func products(_ names: String...) -> [Target.Dependency] {
  names.map { .product(name: \$0, package: "linux-heaps") }
}
EOF
cp -r "$work/linux-heaps/Examples" "$work/dependent"
mkdir "$work/dependent/Sources/readme"
{
  echo "import LinuxHeaps"
  echo "func program() async throws {"
  sed -n '/^let heap = MemfdHeap()/,/^```/{/^```/!p}' "$work/linux-heaps/README.md"
  echo "print(isPainted, copy[0])"
  echo "}"
  echo "try await program()"
} > "$work/dependent/Sources/readme/main.swift"
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
swiftpm=(--disable-dependency-cache --cache-path "$work/cache" --security-path "$work/security" "$@")
swift build --build-tests "${swiftpm[@]}"
programs=.build/debug
# prints WHAT EXPECTED SEEN
prints() {
  if [ "$2" = "$3" ]; then
    echo "pass  dependent: $1"
  else
    echo "FAIL  dependent: $1 prints"
    diff <(echo "$2") <(echo "$3") | sed 's/^/      /'
    exit 1
  fi
}
prints "a package that depends on LinuxHeaps, HeapClient and HeapTestKit" "$expected" "$("$programs/dependent")"
prints "README's program" "$(getconf PAGESIZE)
true 42" "$("$programs/readme")"
"$programs/swap-chain" paint "$work/chain" > "$work/painted" &
painter=$!
for _ in $(seq 100); do [ -S "$work/chain" ] && break; sleep 0.1; done
prints "Examples/SwapChain" "$(for frame in 1 2 3 4 5 6; do
  echo "buffer $(((frame - 1) % 3)) shows [$frame, $frame, $frame, $frame]"
done)" "$("$programs/swap-chain" show "$work/chain")"
wait "$painter"
prints "its other end" "all buffers are back" "$(cat "$work/painted")"
prints "Examples/Client, without a service" 1 "$("$programs/heap-client" /nowhere > "$work/client" || echo $?)"
grep -q 'start the service: heapd --socket /nowhere' "$work/client"
swift test --skip-build "${swiftpm[@]}"
echo "pass  dependent: Examples/BoardTest"
