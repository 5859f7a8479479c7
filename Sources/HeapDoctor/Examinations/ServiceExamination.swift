internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// heapd, which allocates for users that may not open the heaps.
enum ServiceExamination {
  private static let socket = UnixAddress.heapService

  static func finding(_ machine: Machine) -> Finding {
    let refusal = mayConnect(machine) ? nil : machine.surroundings.refusal(connectingTo: socket)
    if refusal?.cause != .directoryClosed {
      guard machine.files.exists(socket) else {
        return Finding(
          .note, .service, "service.absent", seen: "no heapd serves at \(socket)",
          why: "it would let users allocate with quotas, without a right on the heaps",
          fix: "sudo systemctl enable --now heapd.socket  # where heapd is installed")
      }
      guard isListening(machine) else {
        return Finding(
          .warning, .service, "service.dead",
          seen: "\(socket) exists, but no process listens on it",
          why: "clients get ECONNREFUSED: the service ended without removing it",
          fix: "sudo systemctl restart heapd.socket")
      }
    }
    if let refusal {
      return Finding(
        .note, .service, "service.closed", seen: "\(socket) \(refusal.seen)", why: refusal.why,
        fix: refusal.fix)
    }
    return Finding(
      .ok, .service, "service.usable", seen: "heapd listens at \(socket)",
      why: "heapctl alloc --socket \(socket) allocates through it")
  }

  static func isUsable(_ machine: Machine) -> Bool {
    machine.files.exists(socket) && isListening(machine) && mayConnect(machine)
  }

  private static func mayConnect(_ machine: Machine) -> Bool {
    unsafe access(machine.files.path(socket), W_OK) == 0
  }

  /// To connect would start a service that systemd keeps for its first client: the kernel's list of
  /// sockets tells as well. `Flags` has 0x10000 for one that listens (net/unix/af_unix.c). The list is of the reader's network
  /// namespace, and is not there where /proc is mounted with `subset=pid`; connect(2) goes by the file, wherever who listens is.
  private static func isListening(_ machine: Machine) -> Bool {
    isListed(machine) || !isRefused(machine.files.path(socket))
  }

  private static func isRefused(_ path: String) -> Bool {
    do throws(Errno) {
      _ = try MessageSocket(connectedTo: path, type: SOCK_SEQPACKET, isBlocking: false)
      return false
    } catch {
      return error == .connectionRefused
    }
  }

  private static func isListed(_ machine: Machine) -> Bool {
    (machine.files.text("/proc/net/unix", limit: 4 << 20) ?? "").lines.contains {
      let words = $0.split(separator: " ")
      return words.count >= 8 && words[3] == "00010000" && words[7] == socket
    }
  }
}
