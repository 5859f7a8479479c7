import Foundation
import SystemPackage

@testable import LinuxHeaps

/// A heap whose allocations of ``slowSize`` take until its gate is opened, as those of a kernel that moves
/// pages do; and so does the going back of ``lastingSize``, as of much memory.
final class GatedHeap: LocalHeap {
  static let slowSize = 3 * pageSize
  static let lastingSize = 1 << 20 + pageSize

  private let inner: MemfdHeap
  private let gate: Gate

  init(_ gate: Gate) {
    inner = MemfdHeap()
    self.gate = gate
  }

  var properties: HeapProperties { inner.properties }
  var buffers: LiveBuffers { inner.buffers }

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    if request.size == Self.slowSize { gate.wait() }
    guard request.size == Self.lastingSize else { return try inner.makeMemory(for: request) }
    let grant = try Admission.standard.admit(request.size, for: request.operation)
    do throws(Errno) {
      let parent = GatedParent(
        try MemfdParent(request.name, size: request.size, kind: .memfd), gate)
      return BufferMemory(
        parent: parent, heapName: MemfdHeap.name, grant: grant)
    } catch {
      throw HeapError(error, request.operation)
    }
  }
}

/// The parent of much memory: its close takes until the gate is opened.
private final class GatedParent: WrappingParent {
  let inner: any Parent
  private let gate: Gate

  init(_ inner: any Parent, _ gate: Gate) {
    self.inner = inner
    self.gate = gate
  }

  deinit { gate.wait() }
}

/// Closed until it is opened, then open for ever.
final class Gate: @unchecked Sendable {
  private let condition = NSCondition()
  private var isOpen = false

  func wait() {
    condition.withLock { while !isOpen { condition.wait() } }
  }

  var isPassable: Bool { condition.withLock { isOpen } }

  func open() {
    condition.withLock {
      isOpen = true
      condition.broadcast()
    }
  }
}
