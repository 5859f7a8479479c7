public import struct LinuxHeaps.SingleBufferSettings

/// `fuchsia.hardware.sysmem/Heap.AllocateVmo`: a buffer is wanted.
///
/// The reply is an ``AllocateVmoResult``.
public struct AllocateVmoRequest: Hashable, Sendable {
  /// Bytes, a multiple of the page size from the known caller; not checked here.
  public var size: UInt64
  /// What is asked of the memory; a heap looks at what it depends on. May be empty.
  public var settings: SingleBufferSettings
  /// The first half of the buffer's key; any number.
  public var bufferCollectionID: UInt64
  /// The second half: the place in the collection; any number.
  public var bufferIndex: UInt64

  public init(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64
  ) {
    self.size = size
    self.settings = settings
    self.bufferCollectionID = bufferCollectionID
    self.bufferIndex = bufferIndex
  }

  private static let byteCount = 40

  /// Reads a whole message, with its header. `handleCount` handles came with it; settings may
  /// mention some in fields that are not known here.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .allocateVmo)
    let body = try decoder.body(byteCount: Self.byteCount)
    let settings: SingleBufferSettings = try decoder.field(at: body + 8, "settings")
    try decoder.finish()
    size = decoder.number(at: body, as: UInt64.self)
    self.settings = settings
    bufferCollectionID = decoder.number(at: body + 24, as: UInt64.self)
    bufferIndex = decoder.number(at: body + 32, as: UInt64.self)
  }

  /// Replaces what `buffer` holds with the message. No handle goes with it.
  ///
  /// Traps where the settings exceed a bound: a heap type of more than 128 bytes, more than 32 color
  /// spaces, more than 64 formats or sizes.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: transactionID, ordinal: .allocateVmo)
    WireEncoder.write(header, bodyByteCount: Self.byteCount, into: &buffer) { encoder in
      encoder.put(size, at: 16)
      settings.encode(to: &encoder, at: 24)
      encoder.put(bufferCollectionID, at: 40)
      encoder.put(bufferIndex, at: 48)
    }
  }
}
