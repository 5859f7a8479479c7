internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// What a stress run waits for: clean-ups, buffers that are gone, deletions that returned.
final class StressEvents: Sendable {
  private let wakeUp: WakeUp
  /// It only ends a failure, so it is long enough for an emulated machine.
  let patience: Duration

  init(patience: Duration) throws(Errno) {
    self.patience = patience
    wakeUp = try WakeUp()
  }

  func signal() { wakeUp.signal() }

  /// Waits until `holds` does.
  ///
  /// - Parameter isTold: Whether a signal comes when it may hold; else it is asked again and again.
  func wait(
    isTold: Bool = true, _ claim: @autoclosure () -> String, _ holds: () throws -> Bool
  ) throws {
    if try holds() { return }
    let deadline = ContinuousClock.now + patience
    while ContinuousClock.now < deadline {
      let left = isTold ? max(.zero, deadline - .now) : .milliseconds(1)
      Self.poll(wakeUp.descriptor, for: left)
      // What it told is in what is asked next.
      wakeUp.clear()
      if try holds() { return }
    }
    throw Broken(description: "does not come true: \(claim())")
  }

  /// Waits until a descriptor is readable.
  func wait(for descriptor: borrowing OwnedFD, _ claim: @autoclosure () -> String) throws(Broken) {
    guard Self.poll(descriptor.rawValue, for: patience) else {
      throw Broken(description: "does not come true: \(claim())")
    }
  }

  @discardableResult
  private static func poll(_ descriptor: CInt, for time: Duration) -> Bool {
    let milliseconds = MonotonicTime.now.advanced(by: time).millisecondsFromNow
    var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe Glibc.poll(&waited, 1, milliseconds) > 0
  }
}

/// What was heard of one buffer.
final class StressRecord: Sendable {
  struct State {
    var cleanups = 0
    var isReclaimed = false
    var isDeletionBegun = false
    var isDeletionOver = false
    var refusal: HeapError?
  }

  private let state = Guarded(State())
  private let events: StressEvents

  init(_ events: StressEvents) { self.events = events }

  var heard: State { state.withLock { $0 } }

  func hear(_ change: @Sendable (inout State) -> Void) {
    state.withLock { change(&$0) }
    events.signal()
  }
}
