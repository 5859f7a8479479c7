internal import Synchronization
internal import SystemPackage

/// One live buffer: the parents that its heap keeps, and what is to be done when their last child is
/// gone.
final class Buffer: Sendable {
  private struct State: ~Copyable {
    /// Nil once it is closed.
    var parent: (any Parent)?
    /// A udmabuf heap adds one for each slice that is a dma-buf of its own.
    var others: [any Parent] = []
    var withdrawal: CleanupAction?
    var grant: Admission.Grant?
  }

  let key: BufferKey
  /// Whose buffer it is; told last of its end.
  let heap: LiveBuffers
  /// Its place in the reclaimer's table, -1 outside of it; touched under the reclaimer's lock alone.
  let place = Atomic<Int>(-1)
  private let state: Guarded<State>
  /// VMOs and mappings of this process. While there is one the kernel need not be asked.
  private let localReferences = Atomic<Int>(0)
  private let reclaimer: ReclaimerCore
  private let cleanup: [CleanupAction]
  private let byteCount: UInt64

  /// - Parameters:
  ///   - byteCount: The size of its memory.
  ///   - cleanup: Run in order before the parents close.
  init(
    _ key: BufferKey, of heap: LiveBuffers, _ parent: any Parent, byteCount: UInt64,
    reclaimer: ReclaimerCore, grant: consuming sending Admission.Grant, cleanup: [CleanupAction]
  ) {
    self.key = key
    self.heap = heap
    state = Guarded(State(parent: parent, grant: grant))
    self.byteCount = byteCount
    self.reclaimer = reclaimer
    self.cleanup = cleanup
  }

  var parents: [any Parent] {
    state.withLock { state in state.parent.map { [$0] + state.others } ?? [] }
  }

  /// The first parent, and all others; nil once they are closed.
  private var family: (first: any Parent, others: [any Parent])? {
    state.withLock { state in state.parent.map { ($0, state.others) } }
  }

  /// The one that it was made with; nil once it is closed.
  var parent: (any Parent)? { family?.first }

  func hasParent(_ isSuch: (any Parent) -> Bool) -> Bool {
    guard let (first, others) = family else { return false }
    return isSuch(first) || others.contains(where: isSuch)
  }

  /// What a clean-up action waits for nobody knows.
  var hasCleanup: Bool { !cleanup.isEmpty }

  /// The kernel frees page by page.
  var isSlowToReclaim: Bool { byteCount > 1 << 20 || hasCleanup }

  /// The caller holds a reference, so no reclaiming goes on.
  func add(_ parent: any Parent) {
    state.withLock { $0.others.append(parent) }
    register(parent)
  }

  var isReferencedHere: Bool { localReferences.load(ordering: .acquiring) > 0 }

  func beginLocalReference() { localReferences.add(1, ordering: .relaxed) }

  func endLocalReference() {
    if localReferences.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 {
      reclaimer.lookAfterClose(self)
    }
  }

  /// Ends a reference whose descriptor stays open, outside of what this process keeps account of.
  ///
  /// Where the kernel reports closes there is nothing to look at until it does.
  func endLocalReferenceLeavingOpen() {
    let isLast = localReferences.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
    if isLast, hasParent({ $0.watchedDescriptor == nil }) {
      reclaimer.checkSoon(self)
    }
  }

  /// Ends a reference that the caller itself follows with ``ReclaimerCore/look(at:)``.
  func endLocalReferenceUnnoticed() {
    localReferences.subtract(1, ordering: .acquiringAndReleasing)
  }

  /// Whether anyone, anywhere, still holds a child of it.
  func children(_ counts: FDInfoFiles) throws(Errno) -> Children {
    if isReferencedHere { return .some }
    guard let (first, others) = family else { return .none }
    var all = try first.children(counts)
    for parent in others where all != .some { all = max(all, try parent.children(counts)) }
    return all
  }

  /// - Parameter action: Has whoever keeps copies of the parents' descriptors close them.
  func setWithdrawal(_ action: @escaping CleanupAction) {
    state.withLock { $0.withdrawal = action }
  }

  /// Called where nothing but copies may be left. True for one caller, and when the copies are
  /// withdrawn: from then on the count tells of children alone.
  func withdrawCopies() -> Bool {
    let action: CleanupAction? = state.withLock { $0.withdrawal.take() }
    guard let action else { return false }
    action()
    for parent in parents { parent.setCopies(0) }
    return true
  }

  /// Called once, by whoever took the buffer off the reclaimer's list, after ``children(_:)`` was none.
  func reclaim() {
    for action in cleanup { action() }
    abandon()
  }

  /// Called in place of ``reclaim()`` where nobody will ask any more whether there are children. Those
  /// that there are keep the memory; clean-up actions, which are for its end, do not run.
  func abandon() {
    let (first, others) = state.withLock { state in
      defer { state.others = [] }
      return (state.parent.take(), state.others)
    }
    if let first { close(first) }
    for parent in others { close(parent) }
    state.withLock { $0.grant = nil }
    heap.forget(key)
  }

  private func close(_ parent: any Parent) {
    // Before the close: with it the kernel may give the inode's number to another buffer.
    Self.live.withLock { _ = $0.removeValue(forKey: parent.identity) }
    parent.close()
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
