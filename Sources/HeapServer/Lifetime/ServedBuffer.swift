internal import LinuxHeaps
internal import Logging

/// What the server has of a buffer beside its record in the table, from the request for it to the answers that all of it
/// is gone.
struct ServedBuffer {
  /// Whether the manager's store has a copy of its parent.
  enum Storing { case no, kept, dropping }

  /// Bytes of memory; 0 for a vmo without pages.
  let size: UInt64
  /// As many as are on its user's account: none of memory that the client brought.
  let charge: UInt64
  /// A report of GetStatus: to whoever keeps it it is a buffer, and to nobody else.
  let isReport: Bool
  let user: Accounts.User
  /// Nil for a buffer of the server before this one.
  let connection: Connection?
  /// Empty until the allocation is done.
  var heap = ""
  /// Nothing but asking, or what is heard of dma-bufs, tells of the last close.
  var isUnreported = false
  var storing = Storing.no
  /// Its parent is closed; the store's copy alone may be left.
  var isClosed = false
  /// The DeleteVmo that came first.
  var deletion: Waiting?
  /// All others, oldest first.
  var waiting: [Waiting] = []
  /// Its holders will be looked for when a deadline has passed.
  var hasDeadline = false

  init(
    _ size: UInt64, charge: UInt64? = nil, of user: Accounts.User, _ connection: Connection?,
    isReport: Bool = false
  ) {
    self.isReport = isReport
    self.size = size
    self.charge = charge ?? size
    self.user = user
    self.connection = connection
  }

  /// Stays after the connection went.
  var isOrphan: Bool { connection?.isOpen != true }

  func storedName(_ key: BufferKey) -> StoredBufferName {
    StoredBufferName(key: key, user: user.id, heap: heap)
  }

  func metadata(_ key: BufferKey) -> Logger.Metadata {
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
