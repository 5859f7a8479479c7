internal import LinuxHeaps

/// A parent that goes to the pool when its heap lets it go.
final class PooledParent: WrappingParent {
  private let memory: PoolMemory
  private let pool: Pool

  init(_ memory: PoolMemory, _ pool: Pool) {
    self.memory = memory
    self.pool = pool
  }

  // Also where children are left, as when a server ends: the pool asks.
  deinit { pool.giveBack(memory) }

  var inner: any Parent { memory.parent }
}

/// A dma-buf that can be handed out more than once.
struct PoolMemory: Sendable {
  let parent: any Parent
  let heapName: String
  let kind: PoolKind
  /// Who had it; nil where nobody had, as ``isNew`` tells, or the heap is of one process.
  var owner: UInt32?
  /// As the kernel gave it.
  var isNew: Bool

  /// Whether it can be handed to that user.
  func suits(_ user: UInt32?) -> Bool { isNew || owner == user }
}
