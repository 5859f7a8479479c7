import HeapProtocol

/// What all messages can do.
protocol Message: Hashable, Sendable {
  init(decoding message: RawSpan, handleCount: Int) throws(WireError)
  func encode(transactionID: UInt32, into buffer: inout [UInt8])
}

extension AllocateVmoRequest: Message {}
extension AllocateVmoResult: Message {}
extension DeleteVmoRequest: Message {}
extension DeleteVmoReply: Message {}
extension GetVmoInfoRequest: Message {}
extension GetVmoInfoReply: Message {}
extension AttachLifetimeTrackingRequest: Message {}
extension AttachLifetimeTrackingReply: Message {}
extension AwaitReclaimedRequest: Message {}
extension AwaitReclaimedReply: Message {}
extension GetStatusRequest: Message {}
extension GetStatusReply: Message {}
extension OnRegisterEvent: Message {
  func encode(transactionID: UInt32, into buffer: inout [UInt8]) { encode(into: &buffer) }
}
extension Epitaph: Message {
  func encode(transactionID: UInt32, into buffer: inout [UInt8]) { encode(into: &buffer) }
}

extension Message {
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
