internal import CLibrary
internal import LinuxHeaps
internal import Logging

/// What clients can have logged. Of each kind of line a user has a few at once, and then one a second, which says how many
/// were left out before it (`more`): whoever connects again and again does not fill the log.
final class ClientLog {
  private struct Kind: Hashable {
    let user: uid_t
    let line: String
  }

  fileprivate struct Allowance {
    var left = ClientLog.atOnce
    var begin = MonotonicTime.now
    var leftOut = 0
  }

  fileprivate static let atOnce: UInt64 = 20
  /// Those of users who are long gone are forgotten beyond that.
  private static let mostKinds = 4096
  private var allowances: [Kind: Allowance] = [:]
  private let log: Logger

  init(_ log: Logger) { self.log = log }

  /// - Parameters:
  ///   - line: The same text for all lines of a kind.
  ///   - facts: What is different in each.
  func note(
    _ line: StaticString, of user: uid_t, at level: Logger.Level = .warning,
    _ facts: @autoclosure () -> Logger.Metadata
  ) {
    guard let leftOut = take(Kind(user: user, line: "\(line)")) else { return }
    log.log(level: level, "\(line)", metadata: facts().merging(["more": "\(leftOut)"]) { $1 })
  }

  /// How many were left out before this one; nil where it is left out too.
  private func take(_ kind: Kind) -> Int? {
    if allowances.count >= Self.mostKinds { forget() }
    return allowances[kind, default: Allowance()].take()
  }

  private func forget() {
    allowances = allowances.filter { !$0.value.isWhole }
    if allowances.count >= Self.mostKinds { allowances = [:] }
  }
}

extension ClientLog.Allowance {
  fileprivate mutating func take() -> Int? {
    refill()
    guard left > 0 else {
      leftOut += 1
      return nil
    }
    left -= 1
    defer { leftOut = 0 }
    return leftOut
  }

  fileprivate mutating func refill() {
    let seconds = (MonotonicTime.now.nanoseconds - begin.nanoseconds) / 1_000_000_000
    if seconds == 0 { return }
    left = min(left + seconds, ClientLog.atOnce)
    begin = MonotonicTime(nanoseconds: begin.nanoseconds + seconds * 1_000_000_000)
  }

  fileprivate var isWhole: Bool {
    var later = self
    later.refill()
    return later.left == ClientLog.atOnce && later.leftOut == 0
  }
}
