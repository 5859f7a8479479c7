internal import CLibrary
internal import CLinuxHeaps
public import LinuxHeaps
internal import SystemPackage

/// The service manager's side of the conversation that sd_notify(3) describes: datagrams of lines to
/// the socket named by `NOTIFY_SOCKET`.
///
/// Written here because the protocol is these few lines, and libsystemd would be the daemon's only
/// reason to need systemd where it is built.
public final class ServiceManager: Sendable {
  private let socket: MessageSocket
  /// What the event loop tells, until the socket has room for it.
  private let untold = Guarded<[String]>([])
  /// How often `WATCHDOG=1` is due at least; nil without a watchdog.
  let watchdogInterval: MonotonicTime?

  /// How many descriptors the manager keeps for the next process of the service.
  let storeRoom: Int

  /// Of `systemd/heapd.service`: systemd tells since version 254.
  private static let usualStoreRoom = 2048

  /// Nil where no manager started this process.
  ///
  /// - Throws: Where one did and cannot be told: it would have ended the process some time.
  /// - Parameter keepsDescriptors: Whether the unit has a descriptor store; from systemd 254 on `FDSTORE`
  ///   says so as well.
  public init?(keepsDescriptors: Bool = false) throws(HeapError) {
    guard let path = Self.environment("NOTIFY_SOCKET"), !path.isEmpty else { return nil }
    do throws(Errno) { socket = try MessageSocket(connectedTo: path, type: SOCK_DGRAM) } catch {
      let fix = "unset NOTIFY_SOCKET  # where no manager listens"
      throw UnixAddress.refusal(
        error, "reach the service manager", at: path, start: fix, other: fix)
    }
    let room = Self.environment("FDSTORE").flatMap { Int($0) } ?? 0
    storeRoom = room > 0 || !keepsDescriptors ? room : Self.usualStoreRoom
    let isOurs = Self.environment("WATCHDOG_PID").map { $0 == "\(getpid())" } ?? true
    watchdogInterval = Self.environment("WATCHDOG_USEC").flatMap { UInt64($0) }.flatMap {
      let (nanoseconds, isEndless) = $0.multipliedReportingOverflow(by: 1000)
      return isOurs && nanoseconds > 0 && !isEndless
        ? MonotonicTime(nanoseconds: nanoseconds) : nil
    }
  }

  // MARK: From the event loop

  // The socket is every local user's to fill, and a manager that reads none of it is waited for by nobody here.

  func tellReady() { tell("READY=1") }
  func tellReloading() {
    tell("RELOADING=1\nMONOTONIC_USEC=\(MonotonicTime.now.nanoseconds / 1000)")
  }
  func tellStopping() { tell("STOPPING=1") }
  func tellAlive() { tell("WATCHDOG=1") }

  private func tell(_ text: String) {
    untold.withLock { if $0.last != text { $0.append(text) } }
  }

  /// Sends what was told.
  ///
  /// - Returns: Whether nothing is left.
  func sendUntold() -> Bool {
    untold.withLock { texts in
      while let text = texts.first {
        let bytes = Array(text.utf8)
        let length = socket.withDescriptor { number in
          unsafe CLinuxHeaps_send_now(number, bytes, bytes.count)
        }
        if length < 0, [EAGAIN, ENOBUFS, ENOMEM, EINTR].contains(errno) { return false }
        texts.removeFirst()
      }
      return true
    }
  }

  // MARK: From the store's thread

  /// Hands a copy of a descriptor to the manager, which passes it to the next process of the service.
  ///
  /// - Parameter name: ASCII without control characters and `:`, at most 255.
  func keep(_ descriptor: CInt, as name: String) {
    // FDPOLL=0: it would watch a dma-buf's fences for errors.
    send("FDSTORE=1\nFDNAME=\(name)\nFDPOLL=0", passing: descriptor)
  }

  func drop(_ name: String) { send("FDSTOREREMOVE=1\nFDNAME=\(name)") }

  /// Asks the manager to tell when it has handled all that was sent before. Nil where no descriptor is left.
  func barrier() -> Barrier? {
    guard let pair = try? MessageSocket.Pair() else { return nil }
    pair.far.withDescriptor { send("BARRIER=1", passing: $0) }
    return Barrier(end: pair.keepingNear())
  }

  /// One end of a pair; the manager closes the other.
  struct Barrier: ~Copyable {
    fileprivate let end: MessageSocket

    func isHeard(within milliseconds: CInt) -> Bool {
      end.withDescriptor { number in
        var event = pollfd(fd: number, events: 0, revents: 0)
        return unsafe poll(&event, 1, milliseconds) == 1
      }
    }
  }

  private func send(_ text: String, passing descriptor: CInt? = nil) {
    try? socket.send(Array(text.utf8), descriptors: descriptor.map { [$0] } ?? [])
  }

  static func environment(_ name: String) -> String? {
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }
}
