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
