/// `fuchsia.hardware.sysmem/Heap.DeleteVmo`: a buffer's last handle comes back.
///
/// The reply is a ``DeleteVmoReply``.
public struct DeleteVmoRequest: Hashable, Sendable {
  /// The first half of the buffer's key; any number.
  public var bufferCollectionID: UInt64
  /// The second half: the place in the collection; any number.
  public var bufferIndex: UInt64
  /// The vmo of the reply to AllocateVmo.
  public var vmo: HandleIndex

  public init(bufferCollectionID: UInt64, bufferIndex: UInt64, vmo: HandleIndex = .first) {
    self.bufferCollectionID = bufferCollectionID
    self.bufferIndex = bufferIndex
    self.vmo = vmo
  }

  private static let byteCount = 20

  /// Reads a whole message, with its header; `handleCount` handles came with it.
  public init(decoding message: RawSpan, handleCount: Int) throws(WireError) {
    var decoder = try WireDecoder(message, handleCount: handleCount, of: .deleteVmo)
    let body = try decoder.body(byteCount: Self.byteCount)
    bufferCollectionID = try decoder.field(at: body, "buffer_collection_id")
    bufferIndex = try decoder.field(at: body + 8, "buffer_index")
    vmo = try decoder.field(at: body + 16, "vmo")
    try decoder.finish()
  }

  /// Replaces what `buffer` holds with the message. The vmo goes with it.
  public func encode(transactionID: UInt32, into buffer: inout [UInt8]) {
    let header = MessageHeader(transactionID: transactionID, ordinal: .deleteVmo)
    WireEncoder.write(header, bodyByteCount: Self.byteCount, into: &buffer) { encoder in
      encoder.put(bufferCollectionID, at: 16)
      encoder.put(bufferIndex, at: 24)
      vmo.encode(to: &encoder, at: 32)
    }
  }
}
