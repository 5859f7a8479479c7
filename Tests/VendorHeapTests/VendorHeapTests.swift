import Dispatch
import Glibc
import HeapClient
import HeapServer
import HeapTestKit
import LinuxHeaps
import Testing

/// What a program outside of the package can do with a heap of its own: no import here is `@testable`.
@Suite struct VendorHeapTests {
  static let node = access("/dev/dma_heap/system", R_OK) == 0 ? "/dev/dma_heap/system" : nil
  static let vendor = HeapUnderTest(
    name: "vendor", kind: node == nil ? .memfd : .dmaHeap
  ) {
    VendorHeap(node: node)
  }

  @Test(arguments: HeapCheck.all(for: vendor))
  func `the kit checks a heap from outside`(_ check: HeapCheck) async {
    if case .failed(let reason) = await check.run(on: Self.vendor) { Issue.record("\(reason)") }
  }

  @Test func `heapd's library serves a heap from outside`() async throws {
    let folder = "/tmp/vendor-heap.\(getpid())"
    mkdir(folder, 0o700)
    defer { rmdir(folder) }
    let path = "\(folder)/heap"
    let server = try HeapServer(
      sockets: HeapServer.Sockets(
        heap: Listener(at: path, mode: 0o600),
        observer: Listener(at: path + ".observer", mode: 0o600)),
      heap: VendorHeap(node: Self.node), heapName: "vendor")
    let end = Task {
      await withCheckedContinuation { continuation in
        DispatchQueue(label: "server").async {
          continuation.resume(returning: Result { try server.run() })
        }
      }
    }
    let served = try await HeapUnderTest.service(SingleBufferSettings(), socket: path)
    for check in HeapCheck.all(for: served) {
      if case .failed(let reason) = await check.run(on: served) {
        Issue.record("\(check): \(reason)")
      }
    }
    server.stop()
    try await end.value.get()
  }
}
