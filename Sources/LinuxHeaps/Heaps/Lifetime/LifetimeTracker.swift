/// A descriptor whose close tells its other end that a collection's buffers are gone.
final class LifetimeTracker: Sendable {
  let buffersRemaining: UInt32
  private let descriptor: Guarded<OwnedFD?>

  init(_ descriptor: consuming sending OwnedFD, buffersRemaining: UInt32) {
    self.buffersRemaining = buffersRemaining
    self.descriptor = Guarded(descriptor)
  }

  func close() { descriptor.withLock { $0 = nil } }
}
