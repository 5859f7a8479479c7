// The C library of whatever this is built for: glibc, or musl, with which Swift's static Linux SDK links. No other file of the
// libraries and programs names either; where the two differ in how Swift sees them, what is below has one shape for both
// (Tests/Toolchains/musl.sh). CLinuxHeaps has epoll(7), which Swift's module of the C library leaves out.
package import CLinuxHeaps

#if canImport(Glibc)
  @_exported public import Glibc

  /// `SOCK_STREAM` and its like, which glibc has as an enumeration and musl as numbers.
  package typealias SocketType = __socket_type

  package func number(_ type: SocketType) -> CInt { CInt(bitPattern: type.rawValue) }
  /// A macro there, which Swift does not see.
  package var RLIMIT_NPROC: __rlimit_resource { __RLIMIT_NPROC }

  package func number(_ resource: __rlimit_resource) -> __rlimit_resource_t {
    __rlimit_resource_t(resource.rawValue)
  }
  package func number(_ timer: __itimer_which) -> __itimer_which_t {
    __itimer_which_t(timer.rawValue)
  }
  /// An event of epoll(7), as `epoll_event` has it.
  package func bits(_ event: EPOLL_EVENTS) -> UInt32 { event.rawValue }

  extension sigaction {
    package var handler: __sighandler_t? {
      get { unsafe __sigaction_handler.sa_handler }
      set { unsafe __sigaction_handler.sa_handler = newValue }
    }
  }
#else
  @_exported public import Musl

  package typealias SocketType = CInt

  // A sum in parentheses there, which Swift does not see.
  package var O_ACCMODE: CInt { O_PATH | 3 }

  package func number(_ constant: CInt) -> CInt { constant }
  package func bits(_ event: CInt) -> UInt32 { UInt32(event) }
  package func bits(_ event: UInt32) -> UInt32 { event }

  extension sigaction {
    package var handler: (@convention(c) (CInt) -> Void)? {
      get { unsafe __sa_handler.sa_handler }
      set { unsafe __sa_handler.sa_handler = newValue }
    }
  }
#endif
