internal import Glibc
internal import LinuxHeaps

// What the fuzzers call, which are in C because SwiftPM renames a Swift program's `main`, and libFuzzer brings one.

@_cdecl("Fuzz_decode")
public func decode(_ input: UnsafePointer<UInt8>, _ count: Int) {
  let bytes = unsafe Array(UnsafeBufferPointer(start: input, count: count))
  if let fault = Decoders.fault(in: bytes) { fatalError(fault) }
}

private let server: FuzzedServer = {
  do throws(HeapError) { return try FuzzedServer() } catch { fatalError("\(error)") }
}()

@_cdecl("Fuzz_connect")
public func connect(_ input: UnsafePointer<UInt8>, _ count: Int) -> Int {
  var steps = 0
  let bytes = unsafe Array(UnsafeBufferPointer(start: input, count: count))
  if let fault = server.fault(after: bytes, steps: &steps) { fatalError(fault) }
  return steps
}
