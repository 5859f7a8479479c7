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
  static let vendor = HeapUnderTest(name: "vendor", kind: node == nil ? .memfd : .dmaBuf) {
    VendorHeap(node: node)
  }

  @Test(arguments: HeapCheck.all(for: vendor))
  func `the kit checks a heap from outside`(_ check: HeapCheck) async {
    if case .failed(let reason) = await check.run(on: Self.vendor) { Issue.record("\(reason)") }
  }

  @Test func `heapd's library serves a heap from outside`() async throws {
    let folder = "/tmp/vendor-heap.\(getpid())"
    let path = "\(folder)/heap"
    try #require(mkdir(folder, 0o700) == 0)
    defer {
      for file in [path, path + ".observer"] { unlink(file) }
      rmdir(folder)
    }
    let server = try HeapServer(
      sockets: HeapServer.Sockets(
        heap: Listener(at: path, mode: 0o600),
        observer: Listener(at: path + ".observer", mode: 0o600)),
      heap: VendorHeap(node: Self.node), heapName: "vendor")
    // Not in a task: on one processor all tasks share one thread, and the kit blocks it until the server answers.
    let serving = DispatchGroup()
    DispatchQueue(label: "server").async(group: serving) {
      do { try server.run() } catch { Issue.record(error) }
    }
    defer {
      server.stop()
      #expect(serving.wait(timeout: .now() + 60) == .success, "the server does not end")
    }
    let served = try await HeapUnderTest.service(SingleBufferSettings(), socket: path)
    for check in HeapCheck.all(for: served) {
      if case .failed(let reason) = await check.run(on: served) {
        Issue.record("\(check): \(reason)")
      }
    }
  }
}
