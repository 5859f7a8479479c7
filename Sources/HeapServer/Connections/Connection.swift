internal import CLibrary
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// A client: its socket, its process, and what is on its way to it.
///
/// It outlives its socket, because its buffers know whose they are.
final class Connection {
  /// Which protocol the socket speaks.
  enum Interface {
    case heap, observer

    func has(_ method: MessageOrdinal) -> Bool {
      switch method {
      case .allocateVmo, .deleteVmo, .watchBuffers, .allocateVmoFrom: self == .heap
      case .getVmoInfo, .attachLifetimeTracking, .awaitReclaimed, .getStatus: self == .observer
      default: false
      }
    }
  }

  let id: UInt64
  let interface: Interface
  let peer: Peer
  let user: Accounts.User
  private let descriptors: DescriptorBudget
  /// Nil once it is closed.
  private(set) var socket: ClientSocket?
  /// Nil once the process has ended, or where the kernel gave none.
  private(set) var process: SharedFD?
  /// Messages that the socket did not take yet, oldest first, each with the handle that goes with it. While
  /// there is one nothing is read, so they stay few: answers under way, and events of buffers.
  private var unsent: [(bytes: [UInt8], handle: SharedFD?)] = []

  // Each of these is changed by one part of the server.

  /// Since when an answer may lie in the socket that the client has not read; nil once it has read all (`Connections`).
  var unreadSince: MonotonicTime?
  /// Of `unreadSince`: the memory that unread messages took at the last look, and the bytes that were sent since (`Connections`).
  var unread = 0
  var sent = 0
  /// Since when nothing is read because too many files that its user sent are not closed yet. Where room for any message is missing,
  /// the time of the last look (`Connections`).
  var heldUpSince: MonotonicTime?
  /// Nothing more is read; it is closed when all is sent (`Connections`).
  var isEnding = false
  /// Of its buffers, as long as they live (`Accounts`).
  var usage = Usage()
  /// Its buffers whose last close the kernel does not report (`ServedBuffers`).
  var unreportedBuffers = 0
  /// Answers that wait for a buffer's end (`ServedBuffers`).
  var waits = 0
  /// Requests under way that will be answered (`HeapRequests`, `ObserverRequests`).
  var requests = 0
  /// It is told of its buffers' ends (`HeapRequests`).
  var watchesBuffers = false
  /// GetStatus reports sent since the client had last read everything (`ObserverRequests`).
  var unreadReports = 0

  init(
    _ id: UInt64, _ interface: Interface, _ peer: Peer, _ user: Accounts.User,
    _ socket: ClientSocket, process: SharedFD?, _ descriptors: DescriptorBudget
  ) {
    self.id = id
    self.interface = interface
    self.peer = peer
    self.user = user
    self.socket = socket
    self.process = process
    self.descriptors = descriptors
    descriptors.add(process == nil ? 1 : 2)
  }

  var isOpen: Bool { socket != nil }

  /// Closes it. Answers that nobody will read may hold children.
  func takeSocket() -> ClientSocket? {
    guard let socket = socket.take() else { return nil }
    descriptors.remove()
    forgetUnsent()
    return socket
  }

  func forgetUnsent() {
    descriptors.remove(unsent.count { $0.handle != nil })
    unsent = []
  }

  func takeProcess() -> SharedFD? {
    if process != nil { descriptors.remove() }
    return process.take()
  }

  var metadata: Logger.Metadata {
    ["connection": "\(id)", "process": "\(peer.process)", "user": "\(peer.user)"]
  }

  // MARK: Sending

  var unsentCount: Int { unsent.count }

  /// Sends a message, and keeps what cannot be sent yet.
  func send(_ bytes: [UInt8], passing handle: consuming PassedHandle) -> Sending {
    guard let socket else { return .broken }
    let sending = unsent.isEmpty ? socket.borrowed.sendOnce(bytes, handle.descriptor) : .full
    if sending == .sent { sent += bytes.count }
    if sending != .full { return sending }
    do throws(Errno) {
      let kept = try handle.kept()
      if kept != nil { descriptors.add() }
      unsent.append((bytes, kept))
      return .full
    } catch {
      return .broken
    }
  }

  /// Sends the oldest of those that are unsent.
  func sendNext() -> Sending {
    guard let socket, let next = unsent.first else { return .broken }
    let sending = socket.borrowed.sendOnce(next.bytes, next.handle?.fd.rawValue)
    if sending == .sent {
      sent += next.bytes.count
      if next.handle != nil { descriptors.remove() }
      unsent.removeFirst()
    }
    return sending
  }
}

/// A descriptor that goes with a message.
enum PassedHandle: ~Copyable {
  case none
  /// Closed here as soon as it is on its way.
  case owned(OwnedFD)
  /// A dma-buf parent's own: what the message carries is a child, as a dup would be.
  case lent(any Parent)

  var descriptor: CInt? {
    switch self {
    case .none: nil
    case .owned(let handle): handle.rawValue
    case .lent(let parent): parent.descriptor
    }
  }

  /// For as long as the message waits.
  consuming func kept() throws(Errno) -> SharedFD? {
    switch consume self {
    case .none: nil
    case .owned(let handle): SharedFD(handle)
    case .lent(let parent): SharedFD(try parent.openChild())
    }
  }
}

/// What became of one attempt to send a message.
enum Sending {
  case sent, full, broken
  /// The client takes no descriptors: it has turned `SO_PASSRIGHTS` off (Linux 6.16).
  case refused
}

extension BorrowedFD {
  /// Sends a message on a socket that does not block.
  func sendOnce(_ bytes: [UInt8], _ handle: CInt?) -> Sending {
    do throws(Errno) {
      try send(bytes, passing: handle)
      return .sent
    } catch .resourceTemporarilyUnavailable {
      return .full
    } catch .notPermitted where handle != nil {
      return .refused
    } catch .init(rawValue: ETOOMANYREFS) {
      // Too many descriptors of this user are in flight: as long as others do not read.
      return .full
    } catch {
      return .broken
    }
  }
}
