internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// What ends the wait of whoever takes buffers back.
final class ReclaimerEvents: Sendable {
  let wakeUp: WakeUp
  let closes: CloseEvents
  /// Who waits; nobody else is called by `wakeUp`.
  private let waiter = Guarded<pthread_t?>(nil)

  private init(_ wakeUp: consuming WakeUp, _ closes: consuming CloseEvents) {
    self.wakeUp = wakeUp
    self.closes = closes
  }

  static func make() throws(Errno) -> ReclaimerEvents {
    ReclaimerEvents(try WakeUp(), try CloseEvents())
  }

  func isWaitedForHere() { waiter.withLock { $0 = pthread_self() } }

  /// Whether the caller is the one that waits.
  var isCurrent: Bool { waiter.withLock { $0 } == pthread_self() }
}
