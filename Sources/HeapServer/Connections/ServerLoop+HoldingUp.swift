internal import CoreMetrics
internal import LinuxHeaps
internal import Logging

// A flood of files, or files that do not close: nothing more of that user is read until they are.

extension ServerLoop {
  /// Files of one user that may wait here to be closed.
  private var mostUnclosed: Int { min(512, headroom.limit / 4) }
  private static let pause: UInt64 = 5

  func holdsUp(_ connection: Connection) -> Bool {
    guard hasTooMuchToClose(connection) else { return false }
    connection.heldUpSince = .now
    listen(to: connection)
    deadlines.set(.heldUp(connection: connection.id), after: Self.pause)
    return true
  }

  private func hasTooMuchToClose(_ connection: Connection) -> Bool {
    disposer.open.count(of: connection.client.peer.user) >= mostUnclosed
  }

  /// Who connects again and again, with files that do not close, would use up all descriptors. Nobody
  /// can tell who is next in a listener's queue, so all wait in it.
  func holdUpListeners() {
    guard disposer.open.total >= headroom.limit / 2 else { return }
    listen(false)
    deadlines.set(.heldUpListeners, after: Self.pause)
  }

  func lookAgainAtListeners() {
    listen(true)
    holdUpListeners()
  }

  private func listen(_ isReading: Bool) {
    if isStopping { return }
    for (number, kind) in [
      (sockets.heap.fd.rawValue, EventSource.Kind.heapListener),
      (sockets.observer.fd.rawValue, .observerListener),
    ] {
      poller.change(number, EventSource(kind), reading: isReading, writing: false)
    }
  }

  func lookAgain(at connection: Connection) {
    guard let since = connection.heldUpSince else { return }
    guard hasTooMuchToClose(connection) else {
      connection.heldUpSince = nil
      return listen(to: connection)
    }
    let milliseconds = (MonotonicTime.now.nanoseconds - since.nanoseconds) / 1_000_000
    guard milliseconds >= policy.limits.stall else {
      return deadlines.set(.heldUp(connection: connection.id), after: Self.pause)
    }
    log.warning("client dropped: files that it sent do not close", metadata: connection.metadata)
    metrics.dropped.increment()
    close(connection)
  }
}
