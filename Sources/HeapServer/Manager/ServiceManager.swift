internal import CLinuxHeaps
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The service manager's side of the conversation that sd_notify(3) describes: datagrams of lines to
/// the socket named by `NOTIFY_SOCKET`.
///
/// Written here because the protocol is these few lines, and libsystemd would be the daemon's only
/// reason to need systemd where it is built.
public final class ServiceManager: Sendable {
  private let socket: OwnedFD
  /// How often `WATCHDOG=1` has to come at least; nil where nobody watches.
  let watchdogInterval: MonotonicTime?

  /// Whether the manager keeps descriptors for the next process of the service.
  let keepsDescriptors: Bool

  /// Nil where no manager started this process.
  ///
  /// - Parameter keepsDescriptors: Said by whoever configured it; from systemd 254 on the manager itself
  ///   does, by `FDSTORE`.
  public init?(keepsDescriptors: Bool = false) {
    guard let path = Self.environment("NOTIFY_SOCKET"), !path.isEmpty,
      let socket = Self.connect(path)
    else { return nil }
    self.socket = socket
    let room = Self.environment("FDSTORE").flatMap { Int($0) } ?? 0
    self.keepsDescriptors = keepsDescriptors || room > 0
    let isOurs = Self.environment("WATCHDOG_PID").map { $0 == "\(getpid())" } ?? true
    watchdogInterval = Self.environment("WATCHDOG_USEC").flatMap { UInt64($0) }.flatMap {
      isOurs && $0 > 0 ? MonotonicTime(nanoseconds: $0 * 1000) : nil
    }
  }

  public func tellReady() { send("READY=1") }
  func tellReloading() {
    send("RELOADING=1\nMONOTONIC_USEC=\(MonotonicTime.now.nanoseconds / 1000)")
  }
  func tellStopping() { send("STOPPING=1") }
  func tellAlive() { send("WATCHDOG=1") }

  /// Hands a copy of a descriptor to the manager, who gives it to the next process of the service.
  ///
  /// - Parameter name: ASCII without control characters and `:`, at most 255.
  func keep(_ descriptor: CInt, as name: String) {
    // FDPOLL=0: it would watch a dma-buf's fences for errors.
    send("FDSTORE=1\nFDNAME=\(name)\nFDPOLL=0", passing: descriptor)
  }

  func drop(_ name: String) { send("FDSTOREREMOVE=1\nFDNAME=\(name)") }

  /// Waits until the manager has dealt with all that was sent before: it closes one end of a pair then.
  ///
  /// False where it did not within five seconds.
  func waitUntilHeard() -> Bool {
    guard let pair = try? MessageSocket.Pair() else { return false }
    let near = pair.near.release()
    let far = pair.far.release()
    send("BARRIER=1", passing: far.rawValue)
    _ = consume far
    var event = pollfd(fd: near.rawValue, events: 0, revents: 0)
    return unsafe poll(&event, 1, 5_000) == 1
  }

  private func send(_ text: String, passing descriptor: CInt? = nil) {
    let bytes = Array(text.utf8)
    let number = socket.rawValue
    _ = try? call {
      unsafe bytes.withUnsafeBytes { bytes in
        var descriptor = descriptor ?? -1
        return unsafe CLinuxHeaps_send(
          number, bytes.baseAddress!, bytes.count, &descriptor, descriptor < 0 ? 0 : 1)
      }
    }
  }

  private static func connect(_ path: String) -> OwnedFD? {
    let number = Glibc.socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard number >= 0 else { return nil }
    let socket = OwnedFD(adopting: number)
    let answer = unsafe UnixAddress.use(path) { address, length in
      unsafe Glibc.connect(number, address, length)
    }
    if case .failure = answer { return nil }
    return socket
  }

  static func environment(_ name: String) -> String? {
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }
}
