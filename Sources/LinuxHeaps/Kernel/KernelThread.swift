internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// A detached thread that takes no signals: those are the program's affair, and shall interrupt its own
/// threads.
package enum KernelThread {
  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(_ name: String, _ body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }

    func run() {
      var all = sigset_t()
      unsafe sigfillset(&all)
      unsafe pthread_sigmask(SIG_SETMASK, &all, nil)
      unsafe CLinuxHeaps_name_this_thread(name)
      body()
    }
  }

  /// - Parameter name: At most 15 bytes, as ps(1) shows it.
  package static func start(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) {
    let error = startDetached(Start(name, body))
    if error != 0 { throw Errno(rawValue: error) }
  }

  private static func startDetached(_ start: Start) -> CInt {
    let argument = unsafe Unmanaged.passRetained(start)
    var thread = pthread_t()
    let error = unsafe pthread_create(
      &thread, nil,
      { argument in
        unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().run()
        return nil
      }, argument.toOpaque())
    if error != 0 { unsafe argument.release() } else { pthread_detach(thread) }
    return error
  }
}
