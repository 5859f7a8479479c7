internal import CLibrary
internal import CLinuxHeaps
package import SystemPackage

/// A detached thread that takes no signals: those are the program's affair, and shall interrupt its own
/// threads.
package enum KernelThread {
  private final class Start: Sendable {
    let run: @Sendable () -> Void
    init(_ run: @escaping @Sendable () -> Void) { self.run = run }
  }

  /// - Parameter name: At most 15 bytes, as ps(1) shows it.
  package static func start(
    _ name: String, _ body: @escaping @Sendable () -> Void
  ) throws(Errno) {
    let start = unsafe Unmanaged.passRetained(
      Start {
        var all = sigset_t()
        unsafe sigfillset(&all)
        unsafe pthread_sigmask(SIG_SETMASK, &all, nil)
        unsafe CLinuxHeaps_name_this_thread(name)
        body()
      })
    let error = unsafe CLinuxHeaps_start_thread(
      { argument in
        unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().run()
        return nil
      }, start.toOpaque())
    guard error == 0 else {
      unsafe start.release()
      throw Errno(rawValue: error)
    }
  }
}
