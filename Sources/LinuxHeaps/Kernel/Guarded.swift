internal import CLinuxHeaps
internal import Synchronization

/// State that is reached only under its lock.
///
/// `Synchronization.Mutex`, and two calls that tell ThreadSanitizer what it does not see of it.
package final class Guarded<State: ~Copyable>: Sendable {
  private let mutex = Mutex(())
  // Beside the mutex and not in it: Swift 6.2 does not let its state go on to `body` as `inout sending`.
  // The lock is not recursive, so no two accesses can overlap.
  @exclusivity(unchecked) private nonisolated(unsafe) var state: State

  package init(_ state: consuming sending State) { unsafe self.state = state }

  package func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout sending State) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    let lock = unsafe UnsafeMutableRawPointer(Unmanaged.passUnretained(self).toOpaque())
    return try mutex.withLock { (_) throws(Failure) -> sending Result in
      unsafe CLinuxHeaps_lock_acquired(lock)
      defer { unsafe CLinuxHeaps_lock_released(lock) }
      return try unsafe body(&state)
    }
  }
}
