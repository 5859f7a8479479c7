import Glibc
import HeapClient
import LinuxHeaps
import Testing

/// What a service has, asked over a connection of its own, and what the kernel has.
struct LeftBehind {
  let heap: RemoteHeap
  let process: pid_t
  /// Descriptors that the service had open at first.
  private(set) var descriptors = 0

  /// To be asked of a service that has served already: some descriptors it keeps from then on.
  init(_ heap: RemoteHeap, _ process: pid_t) throws {
    self.heap = heap
    self.process = process
    #expect(comesTrue { (try? isIdle()) == true }, "the service comes to rest")
    descriptors = try ProcessFiles.count(of: process)
  }

  /// Nobody but this value is connected, and no buffer lives.
  private func isIdle() throws -> Bool {
    let status = try HeapdStatus(of: heap)
    return status.quota.buffers == 0 && status.quota.bytes == 0 && status.orphans == 0
      && status.buffers.isEmpty && status.connections.count == 2
  }

  /// Everything is as it was at first.
  func expectNothing(_ comment: Comment) throws {
    #expect(comesTrue { (try? isIdle()) == true }, "\((try? heap.status()) ?? "") \(comment)")
    #expect(
      comesTrue { (try? ProcessFiles.count(of: process)).map { $0 <= descriptors } == true },
      "\((try? ProcessFiles.list(of: process)) ?? []), not \(descriptors) \(comment)")
    #expect(comesTrue { KernelBuffers.ofClients()?.isEmpty != false }, comment)
  }
}
