internal import CLinuxHeaps
internal import Synchronization

/// State that is reached only under its lock.
///
/// `Synchronization.Mutex`, and two calls that tell ThreadSanitizer what it does not see of it.
package final class Guarded<State: ~Copyable>: Sendable {
  private let mutex: Mutex<State>

  package init(_ state: consuming sending State) { mutex = Mutex(state) }

  package func withLock<Result: ~Copyable, Failure: Error>(
    _ body: (inout sending State) throws(Failure) -> sending Result
  ) throws(Failure) -> sending Result {
    let lock = unsafe UnsafeRawPointer(Unmanaged.passUnretained(self).toOpaque())
    return try mutex.withLock { (state: inout sending State) throws(Failure) -> sending Result in
      unsafe CLinuxHeaps_lock_acquired(lock)
      defer { unsafe CLinuxHeaps_lock_released(lock) }
      return try body(&state)
    }
  }
}
