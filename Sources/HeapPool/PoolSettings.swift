/// What a pool keeps, and what it makes before it is asked for.
public struct PoolSettings: Hashable, Sendable {
  /// Buffers of one size and kind of memory.
  public struct Stock: Hashable, Sendable {
    /// Of each, rounded up to whole pages.
    public var byteCount: UInt64
    /// Physically contiguous, or memory of any pages.
    public var isContiguous: Bool
    /// How many are to be ready.
    public var count: Int

    /// - Parameters:
    ///   - byteCount: Of each, rounded up to whole pages.
    ///   - isContiguous: Physically contiguous, or memory of any pages.
    ///   - count: How many are to be ready.
    public init(byteCount: UInt64, isContiguous: Bool = false, count: Int) {
      self.byteCount = byteCount
      self.isContiguous = isContiguous
      self.count = count
    }
  }

  /// The most bytes that lie in the pool; those that are handed out do not.
  public var byteCount: UInt64
  /// How long a buffer lies there that nobody asks for. Those of ``stock`` stay, which nobody had.
  public var idleTime: Duration
  /// What is made ahead, in this order, as far as ``byteCount`` goes.
  public var stock: [Stock]
  /// Whether of each size so many are made ahead as requests found none within ``idleTime``, 16 at most.
  public var learns: Bool

  /// - Parameters:
  ///   - byteCount: The most bytes that lie in the pool; 0 for no pool.
  ///   - idleTime: How long a buffer lies there that nobody asks for: at least a millisecond.
  ///   - stock: What is made ahead.
  ///   - learns: Whether as many are made ahead as requests found none.
  public init(
    byteCount: UInt64, idleTime: Duration = .seconds(10), stock: [Stock] = [], learns: Bool = true
  ) {
    self.byteCount = byteCount
    self.idleTime = max(idleTime, .milliseconds(1))
    self.stock = stock
    self.learns = learns
  }
}

/// What a pool did since it was made, and what lies in it.
public struct PoolFigures: Hashable, Sendable {
  /// Buffers that lie ready.
  public var readyBuffers = 0
  /// Bytes that lie in the pool, also those that are being zeroed or made.
  public var bytes: UInt64 = 0
  /// Requests that were served from it.
  public var hits = 0
  /// Requests for memory that it could have had, and had not.
  public var misses = 0
  /// Buffers that it took back and let go: somebody still held them, or there was no room.
  public var refused = 0
}
