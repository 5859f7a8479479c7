import Glibc
import HeapClient
import LinuxHeaps
import TestSupport
import Testing

/// What a service has, asked over a connection of its own, and what the kernel has.
struct LeftBehind {
  let heap: RemoteHeap
  let process: pid_t
  /// What the service had open at first.
  private let files: [String]

  /// To be asked of a service that has served already: some descriptors it keeps from then on.
  init(_ heap: RemoteHeap, _ process: pid_t) throws {
    self.heap = heap
    self.process = process
    #expect(eventually { (try? Self.isIdle(heap)) == true }, "the service comes to rest")
    files = try ProcessFiles.listAtRest(of: process)
  }

  /// Nobody but this value is connected, and no buffer lives.
  private static func isIdle(_ heap: RemoteHeap) throws -> Bool {
    let status = try ServerStatus(of: heap)
    return status.quota.buffers == 0 && status.quota.bytes == 0 && status.orphans == 0
      && status.buffers.isEmpty && status.connections.count == 2
  }

  /// Everything is as it was at first.
  func expectNothing(_ comment: Comment) throws {
    #expect(
      eventually { (try? Self.isIdle(heap)) == true }, "\((try? heap.status()) ?? "") \(comment)")
    #expect(
      eventually { (try? ProcessFiles.list(of: process)) == files },
      "\((try? ProcessFiles.list(of: process)) ?? []), not \(files) \(comment)")
    #expect(eventually { KernelBuffers.ofClients()?.isEmpty != false }, comment)
  }
}
