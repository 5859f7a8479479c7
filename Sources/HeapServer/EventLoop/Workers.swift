internal import CLibrary
internal import LinuxHeaps
internal import Logging
internal import Synchronization
internal import SystemPackage

/// A thread pool for what may block for long in the kernel: allocations that clear or move pages, freeing
/// large buffers, closing foreign files.
///
/// Each lane has at most one piece of work under way, and lanes with work take turns. Half of the threads are for owners
/// who have nothing under way: one with much work delays only itself, and few do not delay all.
final class Workers: Sendable {
  /// A serial queue of work.
  struct Lane: Hashable {
    enum Owner: Hashable { case user(uid_t), server }

    let id: UInt64
    let owner: Owner

    init(_ id: UInt64, of owner: Owner) {
      self.id = id
      self.owner = owner
    }
  }

  typealias Work = @Sendable () -> Void

  private struct State {
    /// Waiting work; a lane is a key as long as it has work waiting or under way.
    var lanes: [Lane: [Work]] = [:]
    /// Lanes with work and nothing under way.
    var ready: [Lane] = []
    /// Lanes whose work is under way.
    var running: [Lane.Owner: Int] = [:]
    var runningInAll = 0
    var threads = 0
    /// Threads that take a ready lane as soon as they run.
    var idle = 0
    var isFinishing = false

    /// Of the first ready lane for which there is a thread.
    func next(shared: Int) -> Int? {
      runningInAll < shared
        ? ready.indices.first : ready.firstIndex { running[$0.owner] == nil }
    }
  }

  private let state = Guarded(State())
  private let most: Int
  /// Threads for whoever has work.
  private var shared: Int { max(most / 2, 1) }
  private let wakeUps: WakeUp

  init(most: Int = 4) throws(Errno) {
    self.most = most
    wakeUps = try WakeUp(isSemaphore: true)
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

  /// One that is there from now on: with it no work is ever done by who asks for it.
  func startThread() throws(Errno) {
    state.withLock { state in
      state.threads += 1
      state.idle += 1
    }
    do throws(Errno) { try startServing() } catch {
      _ = removeThread()
      throw error
    }
  }

  private func start() {
    do throws(Errno) { try startServing() } catch {
      // Nobody else would do it.
      if removeThread() == 0 { serveAll() }
    }
  }

  private func startServing() throws(Errno) {
    try KernelThread.start("heap-worker") { [self] in
      while serve() {}
    }
  }

  private func removeThread() -> Int {
    state.withLock { state in
      state.threads -= 1
      state.idle -= 1
      return state.threads
    }
  }

  /// False at the thread's end.
  private func serve() -> Bool {
    wakeUps.wait()
    state.withLock { $0.idle -= 1 }
    serveAll()
    return state.withLock { state in
      if state.isFinishing && state.next(shared: shared) == nil {
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

  /// Whoever ends an owner's work looks again, so that what is passed over here is not forgotten.
  private func next() -> (Lane, Work)? {
    state.withLock { state in
      guard let index = state.next(shared: shared) else { return nil }
      let lane = state.ready.remove(at: index)
      state.running[lane.owner, default: 0] += 1
      state.runningInAll += 1
      return (lane, state.lanes[lane]!.removeFirst())
    }
  }

  private func end(_ lane: Lane) {
    state.withLock { state in
      let running = state.running[lane.owner, default: 1] - 1
      state.running[lane.owner] = running == 0 ? nil : running
      state.runningInAll -= 1
      if state.lanes[lane]!.isEmpty { state.lanes[lane] = nil } else { state.ready.append(lane) }
    }
  }
}
