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

  /// The other end of a socket sees it at once, also where the close itself takes long.
  func close() {
    guard let descriptor = descriptor.withLock({ $0.take() }) else { return }
    _ = shutdown(descriptor.rawValue, CInt(SHUT_RDWR))
    closing(descriptor)
  }
}
