internal import LinuxHeaps
internal import Synchronization

/// A parent that goes to the pool when its heap lets it go.
final class PooledParent: WrappingParent {
  private let memory: PoolMemory
  private let pool: Pool
  private let isOffered = Atomic(false)

  init(_ memory: PoolMemory, _ pool: Pool) {
    self.memory = memory
    self.pool = pool
  }

  // Also where children are left, as when a server ends: the pool asks.
  deinit {
    if !isOffered.load(ordering: .relaxed), !pool.takesBack(memory) { pool.end(memory) }
  }

  var inner: any Parent { memory.parent }

  /// What the pool does not take ends as any other buffer does.
  func lastDescriptor() -> CInt? {
    isOffered.store(true, ordering: .relaxed)
    return pool.takesBack(memory) ? nil : memory.descriptor
  }
}

/// A dma-buf that can be handed out more than once.
struct PoolMemory: Sendable {
  private let held: Guarded<(any Parent)?>
  let heapName: String
  let kind: PoolKind
  /// Who had it; nil where nobody had, as ``isNew`` tells, or the heap is of one process.
  var owner: UInt32?
  /// As the kernel gave it.
  var isNew: Bool

  init(parent: any Parent, heapName: String, kind: PoolKind, owner: UInt32?, isNew: Bool) {
    held = Guarded(parent)
    self.heapName = heapName
    self.kind = kind
    self.owner = owner
    self.isNew = isNew
  }

  /// Until it is let go of.
  var parent: any Parent { held.withLock { $0! } }

  var descriptor: CInt { held.withLock { $0!.descriptor } }

  /// Closes its descriptor here, whoever has a copy of this value.
  func letGo() { held.withLock { $0 = nil } }

  /// Whether it can be handed to that user.
  func suits(_ user: UInt32?) -> Bool { isNew || owner == user }
}
