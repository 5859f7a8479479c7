internal import CLibrary
public import HeapPool
public import LinuxHeaps
internal import SystemPackage

/// What may change while the server runs: it is read again on SIGHUP.
public struct Policy: Hashable, Sendable {
  public var limits: Limits
  public var access = AccessList()
  /// Who gets the heap's own memory, within the limits; all others bring theirs (AllocateVmoFrom).
  public var quotas = AccessList()
  /// Whether the server hears by BPF when a dma-buf is closed somewhere, where the kernel and its rights allow: each
  /// close(2) on the machine then takes a third of a microsecond more while there are buffers. Else it reads the buffers'
  /// counts by the clock. Looked at when the server starts.
  public var hearsCloses = true
  /// What a `PooledHeap` keeps. Where the server's heap is one, its bytes are taken off those of all users (``Limits/total``).
  public var pool = PoolSettings(byteCount: 0)

  /// The limits beside a pool: what lies there is memory as users' is, and nobody's quota has it.
  func besidePool() -> Policy {
    var policy = self
    policy.limits.total.bytes -= min(pool.byteCount, limits.total.bytes)
    return policy
  }

  /// Without a file: the limits of ``Limits/init()``, and no list of users.
  ///
  /// - Throws: As ``Limits/init()`` does.
  public init() throws(HeapError) { limits = try Limits() }
}

/// Quotas of clients. The kernel charges a heap's memory to nobody, so the service counts.
public struct Limits: Hashable, Sendable {
  /// Of one connection, of all connections of a user, and of all users together.
  public struct Share: Hashable, Sendable {
    public var buffers: Int
    /// Whole pages, in bytes.
    public var bytes: UInt64
  }

  public var connection: Share
  public var user: Share
  /// Where all of it is half used, the other half is for users that have, with what they ask for, a thirty-second of
  /// it at most. Not so for root and the owner of the socket's file.
  public var total: Share
  /// Of all users together who may connect as members of the group of the socket's file, and the same of all that come as
  /// others: many uids can be one person's. What is not theirs stays for root and the file's owner.
  public var group: Share
  /// Connections of one user, of all of the socket's group or of all others, and of all.
  public var userConnections = 64
  public var groupConnections = 896
  public var totalConnections = 1024
  /// Allocations of one connection that are under way.
  public var requests = 256
  /// Answers of one connection that wait for a buffer's end: to DeleteVmo and AwaitReclaimed. As many
  /// handles of one user may wait for a collection's.
  public var waits = 4096
  /// The same of one user; a quarter is for DeleteVmo's.
  public var userWaits = 16_384
  /// How long a client may leave an answer unread before it is dropped, in milliseconds.
  public var stall: UInt64 = 10_000

  /// Half of the machine's memory for one user, three quarters for all; an eighth of that stays for root and the
  /// socket's owner.
  ///
  /// - Throws: Where /proc/meminfo does not tell the machine's memory.
  public init() throws(HeapError) { try self.init(files: MachineFiles()) }

  init(files: MachineFiles) throws(HeapError) {
    let operation = "read the machine's memory"
    let file = files.path(MachineMemory.file)
    let memory: MachineMemory
    do throws(Errno) { memory = try MachineMemory.read(file) } catch {
      throw Admission.unread(error, operation, in: files)
    }
    guard memory.total > 0 else {
      throw HeapError(
        .io, operation, at: file, cause: "it has no MemTotal", fix: "mount -t proc proc /proc")
    }
    self.init(memory: memory.total)
  }

  init(memory: UInt64) {
    connection = Share(buffers: 1024, bytes: memory / 2)
    user = Share(buffers: 4096, bytes: memory / 2)
    total = Share(buffers: 16_384, bytes: memory / 4 * 3)
    group = Share(buffers: 14_336, bytes: memory / 32 * 21)
  }

  /// Of what is there in all: what a user may have of the half that is kept for those with little.
  static func little<Amount: BinaryInteger>(of total: Amount, atLeast least: Amount = 1) -> Amount {
    max(total / 32, least)
  }

  /// Half of all is there for everybody; the rest for users who have little with it.
  static func leavesHalf<Amount: BinaryInteger>(
    of total: Amount, _ more: Amount, to own: Amount, besides all: Amount, atLeast least: Amount = 1
  ) -> Bool {
    all + more <= total / 2 || own + more <= little(of: total, atLeast: least)
  }
}

/// Who may be served; the socket's own mode comes before it.
public struct AccessList: Hashable, Sendable {
  /// Both nil: whoever the socket's mode lets connect.
  var users: Set<uid_t>?
  var groups: Set<gid_t>?

  public init() {}

  /// The server's own user always is.
  func admits(_ peer: Peer) -> Bool {
    if users == nil && groups == nil { return true }
    return peer.user == geteuid() || users?.contains(peer.user) == true
      || groups.map { !$0.isDisjoint(with: peer.groups) } == true
  }
}
