@testable import LinuxHeaps

/// Carries a descriptor into a closure, which cannot consume what it captures.
final class SharedBox: Sendable {
  private let descriptor: Guarded<OwnedFD?>

  init(_ descriptor: consuming sending OwnedFD) { self.descriptor = Guarded(descriptor) }

  func take() -> OwnedFD { descriptor.withLock { $0.take() }! }
}
