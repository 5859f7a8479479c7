internal import CLibrary

/// Who is to hear that a collection's buffers are gone.
package final class LifetimeTracker: Sendable {
  let buffersRemaining: UInt32
  private let end: @Sendable () -> Void

  /// - Parameter end: Called once, when no more than so many buffers remain.
  package init(buffersRemaining: UInt32, _ end: @escaping @Sendable () -> Void) {
    self.buffersRemaining = buffersRemaining
    self.end = end
  }

  /// A descriptor whose close tells its other end. That of a Unix socket sees it at once, also where others have the
  /// descriptor too.
  convenience init(_ descriptor: consuming sending OwnedFD, buffersRemaining: UInt32) {
    let descriptor = Guarded<OwnedFD?>(descriptor)
    self.init(buffersRemaining: buffersRemaining) {
      guard let descriptor = descriptor.withLock({ $0.take() }) else { return }
      // Of another family, shutdown(2) waits for the socket's lock, which a sender can keep for ever.
      if Self.isUnixSocket(descriptor) { _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR)) }
    }
  }

  package func close() { end() }

  private static func isUnixSocket(_ descriptor: borrowing OwnedFD) -> Bool {
    var family: CInt = 0
    var length = socklen_t(MemoryLayout<CInt>.size)
    return unsafe getsockopt(descriptor.rawValue, SOL_SOCKET, SO_DOMAIN, &family, &length) == 0
      && family == AF_UNIX
  }
}
