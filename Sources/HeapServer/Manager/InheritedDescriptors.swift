internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// What the service manager handed to this process (sd_listen_fds(3)): sockets, and what a process
/// before this one had it keep.
public struct InheritedDescriptors: Sendable {
  /// `Listener`s, by the unit's `FileDescriptorName=`.
  public private(set) var heapSocket: Listener?
  public private(set) var observerSocket: Listener?
  public private(set) var metricsSocket: Listener?
  public private(set) var buffers: [InheritedBuffer] = []
  /// Descriptors with an unknown name, or of another kind than their name says; they are closed.
  public private(set) var unknown: [String] = []

  public init() {
    let isOurs = ServiceManager.environment("LISTEN_PID").flatMap { pid_t($0) } == getpid()
    let count = isOurs ? ServiceManager.environment("LISTEN_FDS").flatMap { CInt($0) } ?? 0 : 0
    let names = (ServiceManager.environment("LISTEN_FDNAMES") ?? "")
      .split(separator: ":", omittingEmptySubsequences: false).map(String.init)
    for index in 0..<max(count, 0) {
      // Fewer than were said: what is open further on is somebody else's.
      guard fcntl(3 + index, F_SETFD, FD_CLOEXEC) == 0 else { break }
      take(OwnedFD(adopting: 3 + index), Int(index) < names.count ? names[Int(index)] : "")
    }
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] { unsafe unsetenv(name) }
  }

  private mutating func take(_ descriptor: consuming OwnedFD, _ name: String) {
    let kind: Listener.Kind = name == "metrics" ? .stream : .messages
    switch (name, kind.isListening(descriptor)) {
    case ("heap", true): heapSocket = Listener(inherited: descriptor)
    case ("observer", true): observerSocket = Listener(inherited: descriptor)
    case ("metrics", true): metricsSocket = Listener(inherited: descriptor)
    case ("heap", false), ("observer", false), ("metrics", false):
      unknown.append("\(name), which is no listening socket of a unit's \(kind.directive)")
    default:
      if let buffer = StoredBufferName(parsing: name) {
        buffers.append(InheritedBuffer(buffer, descriptor))
      } else {
        unknown.append(name)
      }
    }
  }
}

/// A buffer's parent that a server before this one had the service manager keep.
public final class InheritedBuffer: Sendable {
  let name: StoredBufferName
  private let descriptor: Guarded<OwnedFD?>

  init(_ name: StoredBufferName, _ descriptor: consuming OwnedFD) {
    self.name = name
    self.descriptor = Guarded(descriptor)
  }

  /// Once; nil after that. Moved and not copied, because a copy that stayed here would be a child.
  func takeDescriptor() -> OwnedFD? { descriptor.withLock { $0.take() } }
}

extension Listener.Kind {
  /// systemd.socket(5).
  fileprivate var directive: String {
    self == .stream ? "ListenStream=" : "ListenSequentialPacket="
  }

  fileprivate func isListening(_ descriptor: borrowing OwnedFD) -> Bool {
    func option(_ name: CInt) -> CInt? {
      var value: CInt = 0
      var length = socklen_t(MemoryLayout<CInt>.size)
      let number = descriptor.rawValue
      return unsafe getsockopt(number, SOL_SOCKET, name, &value, &length) == 0 ? value : nil
    }
    return option(SO_ACCEPTCONN) == 1 && option(SO_DOMAIN) == AF_UNIX
      && option(SO_TYPE) == number(socketType)
  }
}
