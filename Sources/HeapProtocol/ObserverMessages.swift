public import struct LinuxHeaps.BufferKey

// linuxheaps/Observer, which composes fuchsia.sysmem2/Allocator as far as GetVmoInfo.

/// A request is a table, and a reply a ``FlexibleResult``; both are flexible, and so is an event.
protocol FlexibleMessage: WireBody {}

extension FlexibleMessage {
  static var isFlexible: Bool { true }
}

protocol FlexibleReply: FlexibleMessage {
  associatedtype Success: WireValue, Hashable, Sendable
  associatedtype Failure: WireValue, Hashable, Sendable
  var result: FlexibleResult<Success, Failure> { get set }
  init(_ result: FlexibleResult<Success, Failure>)
}

extension FlexibleReply {
  static var byteCount: Int { 16 }

  init() { self.init(FlexibleResult()) }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    try result.code(&coder, at: offset)
  }
}

/// What a flexible method answers: its response, its own error, or that the server lacks it.
public enum FlexibleResult<Success, Failure>: Hashable, Sendable
where Success: Hashable & Sendable, Failure: Hashable & Sendable {
  case success(Success)
  case failure(Failure)
  /// A `zx.Status`, NOT_SUPPORTED (−2) from a server that does not know the method.
  case frameworkError(Int32)
}

extension FlexibleResult: WireValue where Success: WireValue, Failure: WireValue {
  static var byteCount: Int { 16 }

  init() { self = .frameworkError(0) }

  mutating func code(_ coder: inout WireCoder, at offset: Int) throws(WireError) {
    let (member, response, error, status): (UInt64, Success?, Failure?, Int32?) =
      switch self {
      case .success(let response): (1, response, nil, nil)
      case .failure(let error): (2, nil, error, nil)
      case .frameworkError(let status): (3, nil, nil, status)
      }
    switch try coder.union(member, at: offset) {
    case 1: self = .success(try coder.member("response", response, at: offset))
    case 2: self = .failure(try coder.member("err", error, at: offset))
    case 3: self = .frameworkError(try coder.member("framework_err", status, at: offset))
    default: throw WireError(.unknownMember, at: offset)
    }
  }
}

/// A table without fields, for now: those of a later version are passed over.
public struct EmptyTable: Hashable, Sendable, WireTable {
  package init() {}

  mutating func fields(_ coder: inout WireCoder) {}
}

extension MessageHeader {
  /// Replaces what `buffer` holds with the reply to a flexible two-way method that the server does
  /// not know. Its caller finds a ``FlexibleResult/frameworkError(_:)``.
  package func encodeUnknownMethodReply(into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: transactionID, ordinal: ordinal, isFlexible: true)
    // `ZX_ERR_NOT_SUPPORTED`; nothing in it has a bound.
    let result = FlexibleResult<EmptyTable, Int32>.frameworkError(-2)
    try? WireCoder.write(header, result, into: &buffer)
  }
}

// MARK: GetVmoInfo

/// `fuchsia.sysmem2/Allocator.GetVmoInfo`: asks which buffer a handle is of.
///
/// The reply is a ``GetVmoInfoReply``.
public struct GetVmoInfoRequest: WireMessage, FlexibleMessage, WireTable {
  /// The buffer's vmo, or one made from it.
  public var vmo = HandleIndex.first

  public init() {}

  static var ordinal: MessageOrdinal { .getVmoInfo }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "vmo", &vmo)
  }
}

/// The reply to a ``GetVmoInfoRequest``.
public struct GetVmoInfoReply: WireMessage, FlexibleReply {
  /// The buffer's key, or why it is not told.
  public var result: FlexibleResult<BufferKey, SysmemError>

  package init(_ result: FlexibleResult<BufferKey, SysmemError>) { self.result = result }

  static var ordinal: MessageOrdinal { .getVmoInfo }
}

extension BufferKey: WireTable {
  init() { self.init(bufferCollectionID: 0, bufferIndex: 0) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "buffer_collection_id", &bufferCollectionID)
    try coder.required(2, "buffer_index", &bufferIndex)
  }
}

/// `fuchsia.sysmem2/Error`. Unknown numbers are kept.
public struct SysmemError: RawRepresentable, Hashable, Sendable {
  /// As in the message.
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The vmo is no buffer of the server's.
  public static let notFound = SysmemError(rawValue: 3)
}

extension SysmemError: WireValue {}

// MARK: AttachLifetimeTracking

/// `linuxheaps/Observer.AttachLifetimeTracking`: has a handle closed when a collection's
/// buffers are gone.
///
/// The reply is an ``AttachLifetimeTrackingReply``.
public struct AttachLifetimeTrackingRequest: WireMessage, FlexibleMessage, WireTable {
  /// Closed when all but ``buffersRemaining`` buffers are reclaimed.
  public var serverEnd = HandleIndex.first
  /// 0 for: when the last one is reclaimed.
  public var buffersRemaining: UInt32 = 0
  /// Which collection's buffers count.
  public var bufferCollectionID: UInt64 = 0

  init() {}

  public init(buffersRemaining: UInt32, bufferCollectionID: UInt64) {
    self.buffersRemaining = buffersRemaining
    self.bufferCollectionID = bufferCollectionID
  }

  static var ordinal: MessageOrdinal { .attachLifetimeTracking }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "server_end", &serverEnd)
    try coder.required(2, "buffers_remaining", &buffersRemaining)
    try coder.required(3, "buffer_collection_id", &bufferCollectionID)
  }
}

/// The reply to an ``AttachLifetimeTrackingRequest``; a failure is a `zx.Status`.
public struct AttachLifetimeTrackingReply: WireMessage, FlexibleReply {
  /// Success means: the handle is being kept.
  public var result: FlexibleResult<EmptyTable, Int32>

  package init(_ result: FlexibleResult<EmptyTable, Int32>) { self.result = result }

  static var ordinal: MessageOrdinal { .attachLifetimeTracking }
}

// MARK: AwaitReclaimed

/// `linuxheaps/Observer.AwaitReclaimed`: asks for a reply when a buffer is reclaimed.
///
/// The reply is an ``AwaitReclaimedReply``.
public struct AwaitReclaimedRequest: WireMessage, FlexibleMessage, WireTable {
  /// The buffer's vmo, or one made from it.
  public var vmo = HandleIndex.first

  public init() {}

  static var ordinal: MessageOrdinal { .awaitReclaimed }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "vmo", &vmo)
  }
}

/// The reply to an ``AwaitReclaimedRequest``; a failure is a `zx.Status`.
public struct AwaitReclaimedReply: WireMessage, FlexibleReply {
  /// Success means: the buffer's memory went back.
  public var result: FlexibleResult<EmptyTable, Int32>

  package init(_ result: FlexibleResult<EmptyTable, Int32>) { self.result = result }

  static var ordinal: MessageOrdinal { .awaitReclaimed }
}

// MARK: GetStatus

/// `linuxheaps/Observer.GetStatus`: asks what the server holds.
///
/// The reply is a ``GetStatusReply``.
public struct GetStatusRequest: WireMessage, FlexibleMessage, WireTable {
  public init() {}

  static var ordinal: MessageOrdinal { .getStatus }

  mutating func fields(_ coder: inout WireCoder) {}
}

/// The reply to a ``GetStatusRequest``; a failure is a `zx.Status`.
public struct GetStatusReply: WireMessage, FlexibleReply {
  /// The report, or why there is none.
  public var result: FlexibleResult<StatusReport, Int32>

  package init(_ result: FlexibleResult<StatusReport, Int32>) { self.result = result }

  static var ordinal: MessageOrdinal { .getStatus }
}

/// A text in a memfd.
public struct StatusReport: Hashable, Sendable, WireTable {
  /// The memfd.
  public var report = HandleIndex.first
  /// Bytes of it that are the report.
  public var size: UInt64

  package init(size: UInt64) { self.size = size }

  init() { self.init(size: 0) }

  mutating func fields(_ coder: inout WireCoder) throws(WireError) {
    try coder.required(1, "report", &report)
    try coder.required(2, "size", &size)
  }
}
