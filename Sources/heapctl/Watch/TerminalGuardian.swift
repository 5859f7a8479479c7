internal import CTerminal
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The process that gives the terminal back when this one is killed. It ends with this value.
struct TerminalGuardian: ~Copyable {
  private let orders: MessageSocket
  private let process: pid_t

  /// - Parameter leave: What makes the screen as it was.
  init(leave: String) throws(HeapError) {
    do throws(Errno) {
      let pair = try MessageSocket.Pair()
      process = try pair.far.withDescriptor { orders throws(Errno) in
        try call { unsafe CTerminal_start_guardian(orders, leave) }
      }
      orders = pair.near
    } catch {
      throw HeapError(error, "start the process that gives the terminal back")
    }
  }

  /// From now on the terminal has to be given back. A guardian that somebody killed is not missed.
  func note(_ modes: CTerminal_modes) {
    try? orders.send(unsafe withUnsafeBytes(of: modes) { unsafe [UInt8]($0) })
  }

  func noteGivenBack() { try? orders.send([0]) }

  deinit {
    // It ends when it sees the hang-up, which the socket's own close would bring only after this.
    orders.hangUp()
    _ = try? call { waitpid(process, nil, 0) }
  }
}
