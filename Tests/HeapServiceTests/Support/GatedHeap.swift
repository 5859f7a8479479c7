import Foundation
import LinuxHeaps

/// A heap whose allocations of ``slowSize`` take until it is opened, as those of a kernel that moves
/// pages do; and so does the going back of ``lastingSize``, as of much memory.
final class GatedHeap: LocalHeap {
  static let slowSize = 3 * pageSize
  static let lastingSize = 5 * pageSize

  private let inner: MemfdHeap
  private let gate: Gate

  init(_ reclaimer: Reclaimer, _ gate: Gate) {
    inner = MemfdHeap(reclaimer: reclaimer)
    self.gate = gate
  }

  var properties: HeapProperties { inner.properties }
  var buffers: LiveBuffers { inner.buffers }

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    if request.size == Self.slowSize { gate.wait() }
    return try inner.makeMemory(for: request)
  }

  func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    if size == Self.slowSize { gate.wait() }
    let gate = self.gate
    return try inner.allocateVmo(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex,
      cleanup: size == Self.lastingSize ? cleanup + [{ gate.wait() }] : cleanup)
  }
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
