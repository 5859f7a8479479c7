internal import CLibrary
internal import CLinuxHeaps
public import LinuxHeaps
internal import SystemPackage

/// The signals of a daemon, read where everything else is waited for (signalfd(2)).
///
/// Not Dispatch's signal sources, which need its worker threads: their monitor wakes the process once a
/// second for ever.
public final class Signals: Sendable {
  let fd: OwnedFD
  private let policy: @Sendable () throws(HeapError) -> Policy

  /// To be created on the main thread before any other starts: it blocks SIGTERM, SIGINT and SIGHUP.
  ///
  /// - Parameter policy: Reads the configuration again, at each SIGHUP.
  public init(policy: @escaping @Sendable () throws(HeapError) -> Policy) throws(HeapError) {
    fd = try attempt("wait for signals") { () throws(Errno) in
      OwnedFD(adopting: try call { CLinuxHeaps_signals() })
    }
    self.policy = policy
  }

  func readPolicy() throws(HeapError) -> Policy { try policy() }

  enum Signal { case stop, reload }

  /// The next one that waits.
  func next() -> Signal? {
    switch CLinuxHeaps_next_signal(fd.rawValue) {
    case SIGTERM, SIGINT: .stop
    case SIGHUP: .reload
    default: nil
    }
  }
}
