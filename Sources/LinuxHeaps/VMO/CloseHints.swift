/// Hears, of dma-bufs, what the kernel tells nobody by itself: that references fell, in whichever process.
///
/// A hint decides nothing: the buffer's count is read. Hints can be lost or missing, and it can tell of that.
package protocol CloseHints: AnyObject, Sendable {
  /// Readable, for epoll_wait(2), while hints wait.
  var descriptor: CInt { get }

  /// Begins to hear; takes long enough not to be called in an event loop. What went before is not heard.
  func attach() throws(HeapError)

  /// Ends it. What is watched stays so for the next ``attach()``.
  func detach()

  /// Tells of the buffer from now on, while attached, when a reference goes and at most `references` are left.
  func watch(_ inode: UInt64, downTo references: UInt8)

  /// Undoes one ``watch(_:downTo:)``.
  func unwatch(_ inode: UInt64)

  /// Those whose references fell since the last time, and maybe others; nil where some were lost.
  func read() -> [UInt64]?

  /// How many closes went unheard since the beginning; where it is as before, none was missed meanwhile.
  func missed() throws(HeapError) -> UInt64
}

/// When a reclaimer hears by ``CloseHints``, and when it asks what they missed.
struct Hearing {
  enum Stage {
    /// Nobody has a buffer.
    case off
    /// On its way, on another thread.
    case attaching
    case on
    /// On its way to off, on another thread.
    case detaching
    /// The kernel refused.
    case failed
  }

  let hints: any CloseHints
  var stage = Stage.off
  private var missed: UInt64 = 0
  /// When to ask again; nil while not attached.
  private(set) var check: MonotonicTime?
  private var interval = Self.first

  private static let first: UInt64 = 1_000_000_000
  /// Sixty-four seconds: the one wake-up of a server at rest.
  private static let longest = first << 6

  init(_ hints: any CloseHints) { self.hints = hints }

  mutating func attached(at now: MonotonicTime) {
    stage = .on
    missed = (try? hints.missed()) ?? 0
    wait(Self.first, from: now)
  }

  mutating func detach() {
    stage = .detaching
    check = nil
  }

  private mutating func wait(_ interval: UInt64, from now: MonotonicTime) {
    self.interval = interval
    check = MonotonicTime(nanoseconds: now.nanoseconds + interval)
  }

  /// Whether closes were missed since it was last asked, where it is time to ask. One that cannot be asked says yes.
  mutating func hasMissed(at now: MonotonicTime) -> Bool {
    guard let check, check <= now else { return false }
    let missed = try? hints.missed()
    let isSame = missed == self.missed
    self.missed = missed ?? 0
    wait(isSame ? min(interval * 2, Self.longest) : Self.first, from: now)
    return !isSame
  }
}
