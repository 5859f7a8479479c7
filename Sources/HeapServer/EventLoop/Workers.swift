internal import LinuxHeaps
internal import Logging
internal import Synchronization
internal import SystemPackage

/// Threads for what the kernel may take long about: allocations that clear or move pages, large buffers
/// going back, foreign files being closed.
///
/// Each lane has at most one piece of work under way, and lanes with work take turns: who asks for much
/// waits for itself.
final class Workers: Sendable {
  typealias Lane = UInt64
  typealias Work = @Sendable () -> Void

  private struct State {
    /// Waiting work; a lane is a key as long as it has work waiting or under way.
    var lanes: [Lane: [Work]] = [:]
    /// Lanes with work and nothing under way.
    var ready: [Lane] = []
    var threads = 0
    /// Threads that take a ready lane as soon as they run.
    var idle = 0
    var isFinishing = false
  }

  private let state = Guarded(State())
  private let most: Int
  private let wakeUps: Semaphore

  init(most: Int = 4) throws(Errno) {
    self.most = most
    wakeUps = try Semaphore()
  }

  func run(in lane: Lane, _ work: @escaping Work) {
    let startsThread = state.withLock { state in
      if state.lanes[lane] == nil {
        state.lanes[lane] = [work]
        state.ready.append(lane)
      } else {
        state.lanes[lane]!.append(work)
      }
      // One that was called and has not run yet is idle, and serves one lane only.
      guard state.idle < state.ready.count, state.threads < most else { return false }
      state.threads += 1
      state.idle += 1
      return true
    }
    if startsThread { start() }
    wakeUps.signal()
  }

  private func start() {
    do throws(Errno) {
      try KernelThread.start("heap-worker") { [self] in
        while serve() {}
      }
    } catch {
      let left = state.withLock { state in
        state.threads -= 1
        state.idle -= 1
        return state.threads
      }
      // Nobody else would do it.
      if left == 0 { serveAll() }
    }
  }

  /// False at the thread's end.
  private func serve() -> Bool {
    wakeUps.wait()
    state.withLock { $0.idle -= 1 }
    serveAll()
    return state.withLock { state in
      if state.isFinishing && state.ready.isEmpty {
        state.threads -= 1
        return false
      }
      state.idle += 1
      return true
    }
  }

  /// Its threads end when no work is left. What comes after that is done, too.
  func finish() {
    let threads = state.withLock { state in
      state.isFinishing = true
      return state.threads
    }
    for _ in 0..<threads { wakeUps.signal() }
  }

  private func serveAll() {
    while let (lane, work) = next() {
      work()
      end(lane)
    }
  }

  private func next() -> (Lane, Work)? {
    state.withLock { state in
      guard !state.ready.isEmpty else { return nil }
      let lane = state.ready.removeFirst()
      return (lane, state.lanes[lane]!.removeFirst())
    }
  }

  private func end(_ lane: Lane) {
    state.withLock { state in
      if state.lanes[lane]!.isEmpty { state.lanes[lane] = nil } else { state.ready.append(lane) }
    }
  }
}
