internal import CLibrary
internal import LinuxHeaps
internal import Logging

/// What clients can have logged. Of each kind of line a user has a few at once, and then one a second, which says how many
/// were left out before it (`more`): whoever connects again and again does not fill the log. Where no other comes within a second, a line
/// of its own says how many.
final class ClientLog {
  private struct Kind: Hashable {
    let user: uid_t
    let line: String
  }

  fileprivate struct Allowance {
    var left = ClientLog.atOnce
    var begin = MonotonicTime.now
    var leftOut = 0
    /// Of those that were left out.
    var level = Logger.Level.warning
  }

  fileprivate static let atOnce: UInt64 = 20
  /// Those of users who are long gone are forgotten beyond that.
  private static let mostKinds = 4096
  private var allowances: [Kind: Allowance] = [:]
  /// When to forget: at twice of what could not be forgotten the last time.
  private var most = mostKinds
  /// The next telling has its moment.
  private var isDue = false
  private let log: Logger
  private let deadlines: Deadlines

  init(_ log: Logger, _ deadlines: Deadlines) {
    self.log = log
    self.deadlines = deadlines
  }

  /// - Parameters:
  ///   - line: The same text for all lines of a kind.
  ///   - facts: What is different in each.
  func note(
    _ line: StaticString, of user: uid_t, at level: Logger.Level = .warning,
    _ facts: @autoclosure () -> Logger.Metadata
  ) {
    guard let leftOut = take(Kind(user: user, line: "\(line)"), level) else { return }
    log.log(level: level, "\(line)", metadata: facts().merging(["more": "\(leftOut)"]) { $1 })
  }

  /// How many were left out before this one; nil where it is left out too.
  private func take(_ kind: Kind, _ level: Logger.Level) -> Int? {
    if allowances.count >= most { forget() }
    if let leftOut = allowances[kind, default: Allowance()].take() { return leftOut }
    allowances[kind]!.leftOut += 1
    allowances[kind]!.level = level
    if !isDue { tellLater() }
    return nil
  }

  private func forget() {
    allowances = allowances.filter { !$0.value.isWhole }
    if allowances.count >= Self.mostKinds {
      allowances = allowances.filter { $0.value.leftOut > 0 }
    }
    most = max(Self.mostKinds, 2 * allowances.count)
  }

  // MARK: What was left out

  private func tellLater() {
    isDue = true
    deadlines.set(.leftOut, after: 1_000)
  }

  /// Within what each user may have logged; who has no line left waits another second.
  func tellLeftOut() {
    isDue = false
    for (kind, allowance) in allowances where allowance.leftOut > 0 {
      if let leftOut = allowances[kind]!.take() {
        tell(leftOut, kind, allowance.level)
      } else if !isDue {
        tellLater()
      }
    }
  }

  /// At the end of the server: all of it.
  func finish() {
    for (kind, allowance) in allowances where allowance.leftOut > 0 {
      tell(allowance.leftOut, kind, allowance.level)
    }
    allowances = [:]
  }

  private func tell(_ count: Int, _ kind: Kind, _ level: Logger.Level) {
    log.log(
      level: level, "lines left out: \(kind.line)",
      metadata: ["more": "\(count)", "user": "\(kind.user)"])
  }
}

extension ClientLog.Allowance {
  /// How many lines were left out before one that is allowed; nil where none is.
  fileprivate mutating func take() -> Int? {
    refill()
    if left == 0 { return nil }
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
