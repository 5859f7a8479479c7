import HeapProtocol

typealias Message = WireMessage

extension WireMessage {
  init(_ bytes: [UInt8], handles: Int) throws(WireError) {
    try self.init(decoding: bytes.message, handleCount: handles)
  }

  func encoded(_ transactionID: UInt32 = 1) -> [UInt8] {
    var buffer: [UInt8] = []
    encode(transactionID: transactionID, into: &buffer)
    return buffer
  }

  /// Nil where the bytes are the message.
  static func refusal(_ bytes: [UInt8], handles: Int) -> WireError? {
    do throws(WireError) {
      _ = try Self(bytes, handles: handles)
      return nil
    } catch {
      return error
    }
  }
}
