internal import Glibc

/// A descriptor whose close tells its other end that a collection's buffers are gone.
package final class LifetimeTracker: Sendable {
  /// Closes a descriptor, now or later: a stranger's file can take long about it.
  package typealias Closing = @Sendable (consuming OwnedFD) -> Void

  let buffersRemaining: UInt32
  private let descriptor: Guarded<OwnedFD?>
  private let closing: Closing

  package init(
    _ descriptor: consuming sending OwnedFD, buffersRemaining: UInt32,
    closing: @escaping Closing = { _ = consume $0 }
  ) {
    self.buffersRemaining = buffersRemaining
    self.descriptor = Guarded(descriptor)
    self.closing = closing
  }

  /// The other end of a Unix socket sees it at once, also where others have the descriptor too.
  package func close() {
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
