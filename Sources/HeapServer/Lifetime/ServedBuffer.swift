internal import Glibc
internal import LinuxHeaps
internal import Logging

/// One buffer that is served, from the request for it to the answers that all of it is gone.
final class ServedBuffer {
  /// Whether the manager's store has a copy of its parent.
  enum Storing { case no, kept, dropping }

  let key: BufferKey
  /// What it is charged.
  let size: UInt64
  let user: Accounts.User
  /// Nil for a buffer of the server before this one.
  let connection: Connection?
  /// Empty until the allocation is done.
  var heap = ""
  /// Set where nothing but asking tells of the last close.
  var unreported: VMOIdentity?
  var storing = Storing.no
  /// Of it nothing is left but the store's copy.
  var isGone = false
  /// The DeleteVmo that came first.
  var deletion: Waiting?
  /// All others, oldest first.
  var waiting: [Waiting] = []
  /// Its holders will be looked for when a deadline has passed.
  var hasDeadline = false

  init(_ key: BufferKey, _ size: UInt64, of user: Accounts.User, _ connection: Connection?) {
    self.key = key
    self.size = size
    self.user = user
    self.connection = connection
  }

  /// Stays after the connection went.
  var isOrphan: Bool { connection?.isOpen != true }

  var storedName: StoredBufferName { StoredBufferName(key: key, user: user.id, heap: heap) }

  var metadata: Logger.Metadata {
    [
      "buffer": "\(key)", "collection": "\(key.bufferCollectionID)",
      "index": "\(key.bufferIndex)", "size": "\(size.asByteCount)", "heap": "\(heap)",
      "user": "\(user.id)",
    ]
  }
}

/// Whom to answer when a buffer is reclaimed.
struct Waiting {
  let connection: Connection
  let transaction: UInt32
  /// When DeleteVmo came; nil for AwaitReclaimed.
  let deletionBegan: MonotonicTime?
}

/// What a new buffer is, before its vmo leaves this process.
struct NewBuffer: Sendable {
  let heap: String
  let identity: VMOIdentity
  /// Whether the kernel tells of its last close.
  let isReported: Bool

  init(_ vmo: borrowing VMO) {
    heap = vmo.heapName ?? ""
    identity = vmo.identity
    isReported = vmo.kind != .dmaBuf
  }
}
