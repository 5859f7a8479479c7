internal import HeapProtocol
internal import LinuxHeaps
internal import Logging

/// One client's socket, and what is on its way to it.
final class Connection {
  /// Which protocol the socket speaks.
  enum Interface {
    case heap, observer

    var methods: [MessageOrdinal] {
      switch self {
      case .heap: [.allocateVmo, .deleteVmo]
      case .observer: [.getVmoInfo, .attachLifetimeTracking, .awaitReclaimed, .getStatus]
      }
    }
  }

  let id: UInt64
  let interface: Interface
  let client: Client
  let socket: SharedFD
  /// Messages that the socket did not take yet, oldest first, each with the handle that goes with it. While
  /// there is one nothing is read, so they stay few.
  var outgoing: [(bytes: [UInt8], handle: SharedFD?)] = []
  /// Requests under way that will be answered.
  var requests = 0
  /// GetStatus reports sent since the client had last read everything.
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

  init(_ id: UInt64, _ interface: Interface, _ client: Client, _ socket: SharedFD) {
    self.id = id
    self.interface = interface
    self.client = client
    self.socket = socket
  }
}

/// Limits the log to one line a second for the refusals of one connection or user; each line says how many
/// were suppressed before it.
struct RefusalLog {
  private var next = MonotonicTime(nanoseconds: 0)
  private var suppressed = 0

  mutating func note(_ write: (_ suppressed: Int) -> Void) {
    let now = MonotonicTime.now
    guard now >= next else {
      suppressed += 1
      return
    }
    write(suppressed)
    suppressed = 0
    next = MonotonicTime(nanoseconds: now.nanoseconds + 1_000_000_000)
  }
}
