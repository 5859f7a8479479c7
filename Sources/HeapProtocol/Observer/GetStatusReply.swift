/// The reply to a ``GetStatusRequest``; a failure is a `zx.Status`.
public struct GetStatusReply: Hashable, Sendable {
  /// The report, or why there is none.
  public var result: FlexibleResult<StatusReport, Int32>

  public init(_ result: FlexibleResult<StatusReport, Int32>) { self.result = result }

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .getStatus)
    result = try decoder.body()
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. The report, if there is one,
  /// goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(
      transactionID: transactionID, ordinal: .getStatus, isFlexible: true)
    WireEncoder.write(header, body: result, into: &buffer)
  }
}

/// A text in a memfd.
public struct StatusReport: Hashable, Sendable {
  /// The memfd.
  public var report: HandleIndex
  /// Bytes of it that are the report.
  public var size: UInt64

  public init(report: HandleIndex = .first, size: UInt64) {
    self.report = report
    self.size = size
  }
}

extension StatusReport: WireTable {
  init(from decoder: inout WireDecoder, at offset: Int) throws(WireError) {
    var report: HandleIndex?
    var size: UInt64?
    var table = try decoder.table(at: offset)
    while let field = decoder.nextField(&table) {
      switch field.ordinal {
      case 1: report = try decoder.field(field, "report")
      case 2: size = try decoder.field(field, "size")
      default: try decoder.skip(field)
      }
    }
    self.init(
      report: try table.required(report, "report"),
      size: try table.required(size, "size"))
  }

  func encodeFields(to encoder: inout WireEncoder) {
    encoder.field(1, report)
    encoder.field(2, size)
  }
}
