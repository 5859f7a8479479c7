internal import Glibc
package import SystemPackage

/// Makes a system call that answers -1 on failure, and makes it again when a signal cut it short.
///
/// `errno` is read before anything else can change it. `close(2)` must not come through here: on
/// Linux the descriptor is gone even when it answers EINTR.
package func call<Result: SignedInteger>(_ body: () -> Result) throws(Errno) -> Result {
  while true {
    let result = body()
    if result != -1 { return result }
    let error = Errno(rawValue: errno)
    if error != .interrupted { throw error }
  }
}
