internal import CLibrary
internal import CLinuxHeaps
internal import HeapPool
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// The ends of buffers: dma-bufs, and what the kernel frees page by page.
///
/// An epoll that a holder has put a dma-buf into keeps no reference, and the last close takes the lock of each such epoll
/// (`eventpoll_release_file`, fs/eventpoll.c), which a read of its events holds for as long as its reader likes. No signal ends that wait. So
/// the last close is a closer's (`CloserPool`): it has the descriptor before that is closed here. A worker waits for its answer, with which
/// the memory is gone, and that wait a signal does end.
final class LastCloses: PoolCloser {
  private static let mostIdle = 8
  /// Nanoseconds.
  private static let patience: UInt64 = 1_000_000_000
  private static let retry: Int64 = 50_000_000
  private static let rest: Int64 = 1_000_000_000

  private let source: CloserSource
  private let descriptors: DescriptorBudget
  private let workers: Workers
  private let lastLane = Atomic<UInt64>(0)
  /// What workers have not done yet.
  private let pending = Atomic(0)
  private let isResting = Atomic(false)
  private let idle: Guarded<[CloserSource.Ends]>
  /// What a closer has at the end.
  private struct Last: Hashable {
    let user: uid_t
    /// What others hold is not to wait for what nobody holds.
    let isHeld: Bool
  }
  /// They close when this process's ends of their sockets are gone; nil where none could be had.
  private let last = Guarded<[Last: CloserSource.Ends?]>([:])
  /// Nobody waits for a closer any more.
  private let hasEnded = Atomic(false)
  /// Signalled then, and never cleared.
  private let end: WakeUp

  init(_ source: CloserSource, _ descriptors: DescriptorBudget) throws(Errno) {
    self.source = source
    self.descriptors = descriptors
    idle = Guarded([try source.make()])
    descriptors.add(2)
    end = try WakeUp()
    workers = try Workers(most: 32)
    // Where no thread can be had the loop would do what they are asked for.
    try workers.startThread()
  }

  func close(
    _ descriptor: CInt, of user: UInt32?, _ letGo: @escaping @Sendable () -> Void,
    closed: @escaping @Sendable () -> Void
  ) {
    // On nobody's account, and the pool's no more.
    descriptors.add()
    close(of: user ?? .max) {
      [descriptor]
    } _: {
      letGo()
    } closed: { [descriptors] in
      descriptors.remove()
      closed()
    }
  }

  /// Returns at once.
  ///
  /// - Parameters:
  ///   - numbers: Asked by the worker: dma-bufs of which this can be the last close.
  ///   - letGo: Closes them here.
  ///   - closed: They are closed everywhere.
  func close(
    of user: uid_t, _ numbers: @escaping @Sendable () -> [CInt],
    _ letGo: @escaping @Sendable () -> Void, closed: @escaping @Sendable () -> Void
  ) {
    let lane = lastLane.add(1, ordering: .relaxed).newValue
    pending.add(1, ordering: .relaxed)
    // A lane for each, because none must wait for another.
    workers.run(in: Workers.Lane(lane, of: .user(user))) { [self] in
      close(numbers(), of: user, letGo)
      closed()
      if pending.subtract(1, ordering: .relaxed).newValue == 0 { restSoon() }
    }
  }

  private func close(_ numbers: [CInt], of user: uid_t, _ letGo: () -> Void) {
    if numbers.isEmpty { return letGo() }
    let giveUp = MonotonicTime.now.nanoseconds + Self.patience
    while !hasEnded.load(ordering: .acquiring) {
      if let closer = take() {
        if (try? Self.hand(numbers, to: closer)) != nil {
          letGo()
          return hasClosed(closer) ? keep(closer) : descriptors.remove(2)
        }
        descriptors.remove(2)
      }
      // A machine that has no more processes for it: memory that nobody uses is worse than a thread that may wait.
      if MonotonicTime.now.nanoseconds > giveUp { return letGo() }
      _ = CLinuxHeaps_await_message(end.descriptor, Self.retry)
    }
    leave(numbers, of: user, isHeld: false, letGo)
  }

  private func take() -> CloserSource.Ends? {
    if let closer = idle.withLock({ $0.popLast() }) { return closer }
    guard let closer = try? source.make() else { return nil }
    descriptors.add(2)
    return closer
  }

  private func keep(_ closer: CloserSource.Ends) {
    let isKept = idle.withLock { idle in
      if idle.count < Self.mostIdle { idle.append(closer) }
      return idle.last?.socket === closer.socket
    }
    if !isKept { descriptors.remove(2) }
  }

  /// Closers that have been at work wait a second for more, because to make one takes longer than a close; one is always ready.
  private func restSoon() {
    if idle.withLock({ $0.count < 2 }) || isResting.exchange(true, ordering: .relaxed) { return }
    workers.run(in: Workers.Lane(0, of: .server)) { [self] in
      _ = CLinuxHeaps_await_message(end.descriptor, Self.rest)
      isResting.store(false, ordering: .relaxed)
      if pending.load(ordering: .relaxed) == 0 { keepOne() }
    }
  }

  private func keepOne() {
    let rest = idle.withLock { idle in
      defer { idle = Array(idle.prefix(1)) }
      return idle.dropFirst()
    }
    descriptors.remove(2 * rest.count)
  }

  private static func hand(_ numbers: [CInt], to closer: CloserSource.Ends) throws(Errno) {
    let socket = closer.socket.fd.rawValue
    var order = UInt8(CLinuxHeaps_CLOSE)
    var rest = numbers[...]
    while !rest.isEmpty {
      let batch = Array(rest.prefix(Int(CLinuxHeaps_MAX_DESCRIPTORS)))
      _ = try call { unsafe CLinuxHeaps_send(socket, &order, 1, batch, batch.count) }
      rest = rest.dropFirst(batch.count)
    }
  }

  /// False where it is gone, or this process is about to be.
  private func hasClosed(_ closer: CloserSource.Ends) -> Bool {
    let socket = closer.socket.fd.rawValue
    guard CLinuxHeaps_order_close(socket) == 0 else { return false }
    var entries = [socket, end.descriptor].map {
      pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
    }
    while unsafe poll(&entries, 2, -1) < 0 {}
    return entries[0].revents != 0 && CLinuxHeaps_hear_closer(socket) == 1
  }

  // MARK: The end

  /// From now on nobody waits for a close.
  func beginEnd() {
    hasEnded.store(true, ordering: .releasing)
    end.signal()
  }

  /// Has a closer of the user's close them, when this value has ended.
  ///
  /// - Parameter isHeld: Whether others have them.
  func leave(_ numbers: [CInt], of user: uid_t, isHeld: Bool, _ letGo: () -> Void) {
    if !numbers.isEmpty { last.withLock { leave(numbers, Last(user: user, isHeld: isHeld), &$0) } }
    letGo()
  }

  private func leave(
    _ numbers: [CInt], _ key: Last, _ closers: inout [Last: CloserSource.Ends?]
  ) {
    for _ in 0..<100 {
      if closers[key] == nil { closers[key] = .some(take()) }
      guard let closer = closers[key]! else { return }
      do throws(Errno) { return try Self.hand(numbers, to: closer) } catch {
        // It takes them as fast as it can.
        if error.isOfSendingNow { usleep(1_000) } else { closers[key] = nil }
      }
    }
  }

  /// Returns when workers have nothing left, or after half a second.
  func awaitWork() {
    let end = MonotonicTime.now.nanoseconds + Self.patience / 2
    while pending.load(ordering: .relaxed) > 0, MonotonicTime.now.nanoseconds < end {
      usleep(1_000)
    }
  }

  func finish() { workers.finish() }
}
