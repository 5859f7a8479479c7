public import struct LinuxHeaps.BufferKey
public import struct LinuxHeaps.HeapProperties
public import struct LinuxHeaps.SingleBufferSettings

// fuchsia.hardware.sysmem/Heap

/// `fuchsia.hardware.sysmem/Heap.AllocateVmo`: asks for a buffer.
///
/// The reply is an ``AllocateVmoResult``.
public struct AllocateVmoRequest: WireMessage, WireBody {
  /// Bytes, a multiple of the page size from the known caller; not checked here.
  public var size: UInt64 = 0
  /// What is asked of the memory; a heap looks at what it depends on. May be empty.
  public var settings = SingleBufferSettings()
  /// Any two numbers.
  public var key = BufferKey()

  init() {}

  public init(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64
  ) {
    self.size = size
    self.settings = settings
    key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
  }

  /// Encodes as ``encode(transactionID:into:)`` does, and throws where the settings exceed a bound.
  package func encodeChecked(
    transactionID: UInt32, into buffer: inout [UInt8]
  ) throws(WireError) {
    try checkedEncode(transactionID: transactionID, into: &buffer)
  }

  static var ordinal: MessageOrdinal { .allocateVmo }
  static var byteCount: Int { 40 }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    coder.number(&size, at: offset)
    try coder.field("settings", &settings, at: offset + 8)
    coder.key(&key, at: offset + 24)
  }
}

/// The reply to an ``AllocateVmoRequest``.
public enum AllocateVmoResult: WireMessage, WireBody {
  /// The buffer.
  case vmo(HandleIndex)
  /// Why there is none: a `zx.Status`.
  case status(Int32)

  static var ordinal: MessageOrdinal { .allocateVmo }
  static var byteCount: Int { 16 }

  init() { self = .status(0) }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    let (member, vmo, status): (UInt64, HandleIndex?, Int32?) =
      switch self {
      case .vmo(let vmo): (1, vmo, nil)
      case .status(let status): (2, nil, status)
      }
    switch try coder.union(member, at: offset) {
    case 1: self = .vmo(try coder.member("response.vmo", vmo, at: offset))
    case 2: self = .status(try coder.member("err", status, at: offset))
    default: throw WireError(.unknownMember, at: offset)
    }
  }
}

/// `fuchsia.hardware.sysmem/Heap.DeleteVmo`: gives a buffer's last handle back.
///
/// The reply is a ``DeleteVmoReply``.
public struct DeleteVmoRequest: WireMessage, WireBody {
  /// Any two numbers.
  public var key = BufferKey()
  /// The vmo of the reply to AllocateVmo.
  public var vmo = HandleIndex.first

  init() {}

  public init(bufferCollectionID: UInt64, bufferIndex: UInt64) {
    key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
  }

  static var ordinal: MessageOrdinal { .deleteVmo }
  static var byteCount: Int { 20 }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    coder.key(&key, at: offset)
    try coder.field("vmo", &vmo, at: offset + 16)
  }
}

/// The reply to a ``DeleteVmoRequest``: the buffer's resources are free. There is no error.
public struct DeleteVmoReply: WireMessage, WireBody {
  package init() {}

  static var ordinal: MessageOrdinal { .deleteVmo }
  static var byteCount: Int { 0 }

  mutating func code(_ coder: inout WireCoder, at offset: Int) {}
}

/// `fuchsia.hardware.sysmem/Heap.OnRegister`: the server's first message on a channel.
///
/// `need_flush` may be absent, which means no; the other properties are obligatory.
public struct OnRegisterEvent: WireMessage, WireBody {
  /// Those of the heap behind the channel.
  public var properties: HeapProperties

  package init(properties: HeapProperties) { self.properties = properties }

  package func encode(into buffer: inout [UInt8]) { encode(transactionID: 0, into: &buffer) }

  static var ordinal: MessageOrdinal { .onRegister }
  static var byteCount: Int { HeapProperties.byteCount }

  init() { properties = HeapProperties() }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    try coder.field("properties", &properties, at: offset)
  }
}

/// The last message of a server that closes a channel, and why.
public struct Epitaph: WireMessage, WireBody {
  /// A `zx.Status`.
  public var status: Int32 = 0

  init() {}

  package init(status: Int32) { self.status = status }

  package func encode(into buffer: inout [UInt8]) { encode(transactionID: 0, into: &buffer) }

  static var ordinal: MessageOrdinal { .epitaph }
  static var byteCount: Int { Int32.byteCount }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    try coder.field("error", &status, at: offset)
  }
}

// MARK: linuxheaps/Heap, on the same channel

/// `linuxheaps/Heap.WatchBuffers`: asks to be told when buffers of this connection are reclaimed.
///
/// The reply is a ``WatchBuffersReply``; an ``OnReclaimedEvent`` for each buffer follows.
public struct WatchBuffersRequest: WireMessage, FlexibleMessage, WireTable {
  public init() {}

  static var ordinal: MessageOrdinal { .watchBuffers }

  mutating func fields(_ coder: inout WireCoder) {}
}

/// The reply to a ``WatchBuffersRequest``; a failure is a `zx.Status`.
public struct WatchBuffersReply: WireMessage, FlexibleReply {
  /// Success means: each end is told from now on.
  public var result: FlexibleResult<EmptyTable, Int32>

  package init(_ result: FlexibleResult<EmptyTable, Int32>) { self.result = result }

  static var ordinal: MessageOrdinal { .watchBuffers }
}

/// `linuxheaps/Heap.OnReclaimed`: a buffer that was allocated on this connection is reclaimed.
///
/// Not sent for one whose ``DeleteVmoReply`` is on its way to this connection: that says the same.
public struct OnReclaimedEvent: WireMessage, FlexibleMessage {
  /// The buffer's; nothing on this connection means it any more.
  public var key = BufferKey()

  init() {}

  package init(key: BufferKey) { self.key = key }

  package func encode(into buffer: inout [UInt8]) { encode(transactionID: 0, into: &buffer) }

  static var ordinal: MessageOrdinal { .onReclaimed }
  static var byteCount: Int { 16 }

  mutating func code(_ coder: inout WireCoder, at offset: Int) {
    coder.key(&key, at: offset)
  }
}

/// `linuxheaps/Heap.AllocateVmoFrom`: asks for a buffer of memory that the client brings, and is charged for.
///
/// The reply is an ``AllocateVmoFromReply``.
public struct AllocateVmoFromRequest: WireMessage, FlexibleMessage, WireTable {
  /// Bytes, rounded up to whole pages by the server: the first of the memory.
  public var size: UInt64 = 0
  /// What is asked of the memory; absent in the message where it is empty.
  public var settings = SingleBufferSettings()
  /// Any two numbers.
  public var key = BufferKey()
  /// A memfd, open for reading and writing and sealed `SHRINK|GROW|SEAL`, whose pages are all there and were all written.
  public var memory = HandleIndex.first

  init() {}

  public init(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64
  ) {
    self.size = size
    self.settings = settings
    key = BufferKey(bufferCollectionID: bufferCollectionID, bufferIndex: bufferIndex)
  }

  /// Encodes as ``encode(transactionID:into:)`` does, and throws where the settings exceed a bound.
  package func encodeChecked(
    transactionID: UInt32, into buffer: inout [UInt8]
  ) throws(WireError) {
    try checkedEncode(transactionID: transactionID, into: &buffer)
  }

  static var ordinal: MessageOrdinal { .allocateVmoFrom }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "size", &size)
    var wanted = settings == SingleBufferSettings() ? nil : Optional(settings)
    try coder.field(2, "settings", &wanted)
    settings = wanted ?? SingleBufferSettings()
    try coder.required(3, "buffer_collection_id", &key.bufferCollectionID)
    try coder.required(4, "buffer_index", &key.bufferIndex)
    try coder.required(5, "memory", &memory)
  }
}

/// The reply to an ``AllocateVmoFromRequest``; a failure is a `zx.Status`.
public struct AllocateVmoFromReply: WireMessage, FlexibleReply {
  /// The buffer, or why there is none.
  public var result: FlexibleResult<AllocatedVmo, Int32>

  package init(_ result: FlexibleResult<AllocatedVmo, Int32>) { self.result = result }

  static var ordinal: MessageOrdinal { .allocateVmoFrom }
}

/// A new buffer.
public struct AllocatedVmo: Hashable, Sendable, WireTable {
  /// A dma-buf.
  public var vmo = HandleIndex.first

  package init() {}

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "vmo", &vmo)
  }
}

extension WireCoder {
  /// A key in line, as the Heap protocol's messages have it; in the observer's reply it is a table.
  @_lifetime(self: copy self)
  fileprivate mutating func key(_ key: inout BufferKey, at offset: Int) {
    number(&key.bufferCollectionID, at: offset)
    number(&key.bufferIndex, at: offset + 8)
  }
}
