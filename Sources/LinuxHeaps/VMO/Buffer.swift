internal import Synchronization
internal import SystemPackage

/// One live buffer: the parents that its heap keeps, and what is to be done when their last child is
/// gone.
final class Buffer: Sendable {
  /// Usually one. A udmabuf heap adds one for each slice that is a dma-buf of its own.
  private let state: Guarded<[any Parent]>
  /// VMOs and mappings of this process. While there is one the kernel need not be asked.
  private let localReferences = Atomic<Int>(0)
  private let withdrawal = Guarded<CleanupAction?>(nil)
  private let reclaimer: ReclaimerCore
  private let cleanup: [CleanupAction]
  private let reclaimed: @Sendable () -> Void
  private let byteCount: UInt64

  /// - Parameters:
  ///   - byteCount: The size of its memory.
  ///   - cleanup: Run in order before the parents close.
  ///   - reclaimed: Run after they closed, when nothing of the buffer is left.
  init(
    _ parent: any Parent, byteCount: UInt64, reclaimer: ReclaimerCore, cleanup: [CleanupAction],
    reclaimed: @escaping @Sendable () -> Void
  ) {
    state = Guarded([parent])
    self.byteCount = byteCount
    self.reclaimer = reclaimer
    self.cleanup = cleanup
    self.reclaimed = reclaimed
  }

  var parents: [any Parent] { state.withLock { $0 } }

  /// The kernel frees page by page, and what a clean-up action waits for nobody knows.
  var isSlowToReclaim: Bool { byteCount > 1 << 20 || !cleanup.isEmpty }

  /// The caller holds a reference, so no reclaiming goes on.
  func add(_ parent: any Parent) {
    state.withLock { $0.append(parent) }
    register(parent)
  }

  var isReferencedHere: Bool { localReferences.load(ordering: .acquiring) > 0 }

  func beginLocalReference() { localReferences.add(1, ordering: .relaxed) }

  func endLocalReference() {
    if localReferences.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
      reclaimer.check(self)
    }
  }

  /// Ends a reference whose descriptor stays open, outside of what this process keeps account of.
  ///
  /// Where the kernel reports closes there is nothing to look at until it does.
  func endLocalReferenceLeavingOpen() {
    let isLast = localReferences.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
    if isLast, parents.contains(where: { $0.watchedDescriptor == nil }) { reclaimer.check(self) }
  }

  /// Ends a reference that the caller itself follows with ``ReclaimerCore/look(at:)``.
  func endLocalReferenceUnnoticed() {
    localReferences.subtract(1, ordering: .acquiringAndReleasing)
  }

  /// Whether anyone, anywhere, still holds a child of it.
  func children() throws(Errno) -> Children {
    if isReferencedHere { return .some }
    var all = Children.none
    for parent in parents where all != .some { all = max(all, try parent.children()) }
    return all
  }

  /// - Parameter action: Has whoever keeps copies of the parents' descriptors close them.
  func setWithdrawal(_ action: @escaping CleanupAction) { withdrawal.withLock { $0 = action } }

  /// Called where nothing but copies may be left. True for one caller, and when the copies are
  /// withdrawn: from then on the count tells of children alone.
  func withdrawCopies() -> Bool {
    let action: CleanupAction? = withdrawal.withLock { action in
      defer { action = nil }
      return action
    }
    guard let action else { return false }
    action()
    for parent in parents { parent.setCopies(0) }
    return true
  }

  /// Called once, by whoever took the buffer off the reclaimer's list, after ``children()`` was none.
  func reclaim() {
    for action in cleanup { action() }
    abandon()
  }

  /// Called in place of ``reclaim()`` where nobody will ask any more whether there are children. Those
  /// that there are keep the memory; clean-up actions, which are for its end, do not run.
  func abandon() {
    let parents = state.withLock { parents in
      defer { parents = [] }
      return parents
    }
    for parent in parents {
      // Before the close: with it the kernel may give the inode's number to another buffer.
      Self.live.withLock { _ = $0.removeValue(forKey: parent.identity) }
      parent.close()
    }
    reclaimed()
  }

  /// The live buffers of this process by identity, so that a descriptor that comes back from foreign
  /// code, or from another process, is known again.
  private static let live = Guarded<[VMOIdentity: Buffer]>([:])

  /// The live buffer of this process that a descriptor is of.
  static func of(_ identity: VMOIdentity) -> Buffer? { live.withLock { $0[identity] } }

  /// Makes it the buffer of what has this parent's identity.
  func register(_ parent: any Parent) { Self.live.withLock { $0[parent.identity] = self } }
}

/// Something that belongs to a buffer and ends with it; runs exactly once, on the reclaimer's thread or
/// within `deleteVmo`.
///
/// What it waits for, every other buffer's reclaiming may wait for too.
public typealias CleanupAction = @Sendable () -> Void
