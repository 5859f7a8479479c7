#!/usr/bin/env bash
# musl.sh: compiles the programs and the C interface for musl, as Swift's static Linux SDK has it, in a stand-in for that SDK: Debian
# has musl's headers and no SDK. Swift's own modules are compiled for musl from the interfaces that the toolchain has beside them;
# Dispatch and FoundationEssentials have none, and of them what is used here is declared below. So nothing is linked or run.
# The headers are unpacked into the cache; what is compiled is kept in .build/musl.
. "$(dirname "${BASH_SOURCE[0]}")/../Kernel/lib.sh"

tree=$(cd "$here/../.." && pwd)
libraries=(musl-dev:amd64/sid linux-libc-dev/sid libdrm-dev:amd64/sid zlib1g-dev:amd64/sid)
target=x86_64-swift-linux-musl
toolchain=$(swift_folder)
resources=$toolchain/../lib/swift
interface=x86_64-unknown-linux-gnu.swiftinterface
if [ ! -e "$resources/linux/Swift.swiftmodule/$interface" ]; then
  say "no interface of Swift's library beside swift"
  exit 77
fi

sysroot=$cache/musl-$(echo "${libraries[@]}" | sha256sum | cut -c1-12)
if [ ! -d "$sysroot" ]; then
  prepare_arm64_apt
  work=$(mktemp -d "$cache/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  for package in "${libraries[@]}"; do fetch_package "$package" "$work/root" arm64_apt; done
  mkdir -p "$work/sysroot/usr"
  # In one folder, as a system of musl's has them.
  cp -rL "$work/root/usr/include" "$work/sysroot/usr/"
  cp -r "$work"/sysroot/usr/include/x86_64-linux-{musl,gnu}/. "$work/sysroot/usr/include/"
  mv -T "$work/sysroot" "$sysroot"
fi

out=$tree/.build/musl
library=$out/swift
mkdir -p "$library/linux/x86_64"
# The compiler's own headers, and the names under which it looks for a platform's modules.
ln -sfn "$resources/shims" "$library/shims"
ln -sfn "$resources/clang" "$library/clang"
ln -sfn linux "$library/linux-static"
frontend=("$toolchain/swift-frontend" -target "$target" -sdk "$sysroot" -resource-dir "$library" -module-cache-path "$out/cache"
  -plugin-path "$resources/host/plugins")

# as_musl FILE: what glibc's module says, of musl. The handler's type has one name in both, and in glibc another besides.
as_musl() {
  sed -e "s/-target x86_64-unknown-linux-gnu/-target $target/" \
    -e 's/\bGlibc\b/Musl/g; s/SwiftGlibc/SwiftMusl/g; s/__sighandler_t/sighandler_t/g' "$1"
}
as_musl "$resources/linux/x86_64/glibc.modulemap" > "$library/linux/x86_64/musl.modulemap"
cp "$resources/linux/x86_64/SwiftGlibc.h" "$library/linux/x86_64/SwiftMusl.h"
for module in Swift SwiftOnoneSupport Musl _Concurrency _Builtin_float Synchronization _StringProcessing; do
  text=$out/$module.swiftinterface
  module_file=$library/linux/$module.swiftmodule/$target.swiftmodule
  as_musl "$resources/linux/${module/Musl/Glibc}.swiftmodule/$interface" > "$text.new"
  if [ -e "$module_file" ] && cmp -s "$text" "$text.new"; then continue; fi
  mv "$text.new" "$text"
  mkdir -p "$(dirname "$module_file")"
  say "compiling $module for musl"
  options=()
  [ $module != Swift ] || options=(-parse-stdlib)
  "${frontend[@]}" "${options[@]}" -compile-module-from-interface "$text" -module-name "$module" -o "$module_file"
done

cat > "$out/Dispatch.swift" << 'END'
public final class DispatchSemaphore: Sendable {
  public init(value: Int) {}
  @discardableResult public func signal() -> Int { 0 }
  public func wait() {}
  public func wait(timeout: DispatchTime) -> DispatchTimeoutResult { .success }
}
public enum DispatchTimeoutResult { case success, timedOut }
public enum DispatchTimeInterval { case seconds(Int), nanoseconds(Int) }
public struct DispatchTime: Sendable {
  public init(uptimeNanoseconds: UInt64) {}
  public static func now() -> DispatchTime { DispatchTime(uptimeNanoseconds: 0) }
  public static func + (time: DispatchTime, interval: DispatchTimeInterval) -> DispatchTime { time }
}
END
cat > "$out/FoundationEssentials.swift" << 'END'
public struct Data: Collection {
  public init(_ bytes: some Sequence<UInt8>) {}
  public var startIndex: Int { 0 }
  public var endIndex: Int { 0 }
  public func index(after i: Int) -> Int { i + 1 }
  public subscript(position: Int) -> UInt8 { 0 }
}
public final class JSONEncoder {
  public struct OutputFormatting: OptionSet, Sendable {
    public let rawValue: UInt
    public init(rawValue: UInt) { self.rawValue = rawValue }
    public static let prettyPrinted = Self(rawValue: 1), sortedKeys = Self(rawValue: 2), withoutEscapingSlashes = Self(rawValue: 8)
  }
  public var outputFormatting: OutputFormatting = []
  public init() {}
  public func encode(_ value: some Encodable) throws -> Data { Data([]) }
}
public final class JSONDecoder {
  public init() {}
  public func decode<T: Decodable>(_ type: T.Type, from data: Data) throws -> T { fatalError() }
}
public struct Date {
  public static var now: Date { Date() }
  public func formatted(_ style: ISO8601Format) -> String { "" }
}
public protocol LocalizedError: Error { var errorDescription: String? { get } }
extension String {
  public struct Encoding { public static var utf8: Self { Self() } }
  public init?(data: Data, encoding: Encoding) { nil }
}
public struct ISO8601Format { public static var iso8601: Self { Self() } }
END

for module in Dispatch FoundationEssentials; do
  mkdir -p "$library/linux/$module.swiftmodule"
  "${frontend[@]}" -emit-module -parse-as-library -swift-version 6 -module-name "$module" "$out/$module.swift" \
    -o "$library/linux/$module.swiftmodule/$target.swiftmodule"
done

sdk=$out/sdks/musl.artifactbundle
mkdir -p "$sdk/sdk"
echo '{"schemaVersion": "1.0", "artifacts": {"musl": {"type": "swiftSDK", "version": "1", "variants": [{"path": "sdk"}]}}}' > "$sdk/info.json"
cat > "$sdk/sdk/swift-sdk.json" << END
{"schemaVersion": "4.0", "targetTriples": {"$target": {
  "sdkRootPath": "$sysroot", "swiftResourcesPath": "$library", "swiftStaticResourcesPath": "$library"}}}
END
cd "$tree"
# musl's CMSG_NXTHDR compares numbers with and without a sign.
unset LINUXHEAPS_STRICT
for module in heapd heapctl LinuxHeapsInterface; do
  say "compiling $module, and what it depends on"
  swift build --swift-sdk musl --swift-sdks-path "$out/sdks" --scratch-path "$out/build" --disable-automatic-resolution --target "$module"
done
say "passed"
