internal import LinuxHeaps
internal import Logging

/// One client's socket, and what is on its way to it.
final class Connection {
  /// Which protocol the socket speaks.
  enum Face { case heap, observer }

  /// A message that the socket did not take yet, and the handle that goes with it.
  struct Outgoing {
    let bytes: [UInt8]
    let handle: SharedFD?

    init(_ bytes: [UInt8], _ handle: consuming OwnedFD?) {
      self.bytes = bytes
      switch consume handle {
      case .some(let handle): self.handle = SharedFD(handle)
      case .none: self.handle = nil
      }
    }
  }

  let id: UInt64
  let face: Face
  let client: Client
  let socket: SharedFD
  /// Unsent messages, oldest first. While there is one nothing is read, so they stay few.
  var outgoing: [Outgoing] = []
  /// Requests under way that will be answered.
  var requests = 0
  /// Of GetStatus, since it had last read everything.
  var unreadReports = 0
  /// Answers that wait for a buffer's end.
  var waits = 0
  var keysWaitedFor: Set<BufferKey> = []
  let account = Account()
  var refusals = RefusalLog()
  /// Set while nothing is read because too many files that its user sent are not closed yet.
  var heldUpSince: MonotonicTime?
  /// Nothing more is read; it is closed when all is sent.
  var isEnding = false

  var metadata: Logger.Metadata {
    ["connection": "\(id)", "process": "\(client.peer.process)", "user": "\(client.peer.user)"]
  }

  init(_ id: UInt64, _ face: Face, _ client: Client, _ socket: consuming OwnedFD) {
    self.id = id
    self.face = face
    self.client = client
    self.socket = SharedFD(socket)
  }
}
