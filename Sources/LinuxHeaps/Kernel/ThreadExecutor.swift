internal import Dispatch

/// Runs tasks on one thread, piece after piece, and needs no other.
///
/// Swift's own executors run on libdispatch, whose threads end the process by SIGILL where they find no descriptor for an epoll
/// (src/event/event_epoll.c) or no /proc (src/event/workqueue.c): no error tells of it.
///
/// What a task with this preference awaits runs here, also what it starts with `async let` and in groups; but no actor with an
/// executor of its own, and nothing that sleeps (`Task.sleep`), since timers are libdispatch's.
package final class ThreadExecutor: TaskExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    var isEnding = false
  }

  private let state = Guarded(State())
  private let hasCome = DispatchSemaphore(value: 0)

  package init() {}

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    state.withLock { $0.jobs.append(job) }
    hasCome.signal()
  }

  /// Gives this thread to the tasks until ``end()``.
  package func run() {
    while true {
      hasCome.wait()
      let (job, isEnding) = state.withLock { state in
        (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isEnding)
      }
      if let job {
        unsafe job.runSynchronously(on: asUnownedTaskExecutor())
      } else if isEnding {
        return
      }
    }
  }

  /// Has ``run()`` return when nothing is left to run. What comes later does not run.
  package func end() {
    state.withLock { $0.isEnding = true }
    hasCome.signal()
  }
}
