internal import Synchronization

/// What handles in this process hold of a buffer; all else of it stands in its record (``BufferTable``).
final class Buffer: Sendable {
  /// Where its record stands, -1 before there is memory and when all of it is gone; changed under the table's lock
  /// alone.
  let place = Atomic<Int>(-1)
  /// VMOs and mappings of this process. While there is one the kernel need not be asked.
  private let localReferences = Atomic<Int>(0)
  let core: ReclaimerCore
  /// What a clean-up action waits for nobody knows.
  let hasCleanup: Bool
  /// The kernel reports the last close anywhere.
  private let isReported: Bool

  init(_ core: ReclaimerCore, hasCleanup: Bool, isReported: Bool) {
    self.core = core
    self.hasCleanup = hasCleanup
    self.isReported = isReported
  }

  var isReferencedHere: Bool { localReferences.load(ordering: .acquiring) > 0 }

  func beginLocalReference() { localReferences.add(1, ordering: .relaxed) }

  func endLocalReference() {
    if endLocalReferenceUnnoticed() { core.lookAfterClose(self) }
  }

  /// Ends a reference whose descriptor stays open, outside of what this process keeps account of.
  ///
  /// Where the kernel reports closes there is nothing to look at until it does.
  func endLocalReferenceLeavingOpen() {
    if endLocalReferenceUnnoticed(), !isReported { core.checkSoon(self) }
  }

  /// Ends a reference that the caller itself follows with ``ReclaimerCore/look(at:)``. True for the last.
  @discardableResult func endLocalReferenceUnnoticed() -> Bool {
    localReferences.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
  }
}

/// Something that belongs to a buffer and ends with it; runs exactly once, on the reclaimer's thread or
/// within `deleteVmo`.
///
/// What it waits for, every other buffer's reclaiming may wait for too.
public typealias CleanupAction = @Sendable () -> Void
