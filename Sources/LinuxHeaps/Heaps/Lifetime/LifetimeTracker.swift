internal import Glibc

/// A descriptor whose close tells its other end that a collection's buffers are gone.
final class LifetimeTracker: Sendable {
  /// Closes a descriptor, now or later.
  typealias Closing = @Sendable (consuming OwnedFD) -> Void

  let buffersRemaining: UInt32
  private let descriptor: Guarded<OwnedFD?>
  private let closing: Closing

  init(
    _ descriptor: consuming sending OwnedFD, buffersRemaining: UInt32,
    closing: @escaping Closing = { _ = consume $0 }
  ) {
    self.buffersRemaining = buffersRemaining
    self.descriptor = Guarded(descriptor)
    self.closing = closing
  }

  /// The other end of a Unix socket sees it at once, also where others have the descriptor too.
  func close() {
    guard let descriptor = descriptor.withLock({ $0.take() }) else { return }
    // Of another family, shutdown(2) waits for the socket's lock, which a sender can keep for ever.
    if Self.isUnixSocket(descriptor) { _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR)) }
    closing(descriptor)
  }

  private static func isUnixSocket(_ descriptor: borrowing OwnedFD) -> Bool {
    var family: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    return unsafe getsockopt(descriptor.rawValue, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0
      && family == AF_UNIX
  }
}

/// How many buffers each collection has that are not fully reclaimed, and who wants to know.
struct CollectionLifetimes {
  private struct Collection {
    var buffers = 0
    var trackers: [LifetimeTracker] = []
  }

  private var collections: [UInt64: Collection] = [:]

  mutating func begin(_ id: UInt64) {
    collections[id, default: Collection()].buffers += 1
  }

  /// The trackers that this end makes due; the caller closes them.
  mutating func end(_ id: UInt64) -> [LifetimeTracker] {
    guard var collection = collections.removeValue(forKey: id) else { return [] }
    collection.buffers -= 1
    let due = collection.trackers.filter { collection.buffers <= $0.buffersRemaining }
    collection.trackers.removeAll { collection.buffers <= $0.buffersRemaining }
    if collection.buffers > 0 { collections[id] = collection }
    return due
  }

  /// True where the tracker is due already.
  mutating func attach(_ tracker: LifetimeTracker, to id: UInt64) -> Bool {
    if collections[id]?.buffers ?? 0 <= tracker.buffersRemaining { return true }
    collections[id]?.trackers.append(tracker)
    return false
  }
}
