internal import HeapProtocol

/// Bytes that may be any message: the first says how many handles came with it.
package enum Decoders {
  private static let messages: [any WireMessage.Type] = [
    AllocateVmoRequest.self, AllocateVmoResult.self, DeleteVmoRequest.self, DeleteVmoReply.self,
    OnRegisterEvent.self, Epitaph.self, WatchBuffersRequest.self, WatchBuffersReply.self,
    OnReclaimedEvent.self, GetVmoInfoRequest.self, GetVmoInfoReply.self,
    AttachLifetimeTrackingRequest.self, AttachLifetimeTrackingReply.self,
    AwaitReclaimedRequest.self, AwaitReclaimedReply.self, GetStatusRequest.self,
    GetStatusReply.self, AllocateVmoFromRequest.self, AllocateVmoFromReply.self,
  ]

  /// Whatever is understood can be said, and is understood the same again.
  ///
  /// - Returns: The message that is not; nil where all is well.
  package static func fault(in input: [UInt8]) -> String? {
    guard let first = input.first else { return nil }
    let (bytes, handles) = (Array(input.dropFirst()), Int(first % 66))
    guard let header = try? MessageHeader(decoding: bytes.message) else { return nil }
    for type in messages where !holds(type, bytes, handles, header.transactionID) {
      return "\(type)"
    }
    return nil
  }

  private static func holds<Message: WireMessage>(
    _ type: Message.Type, _ bytes: [UInt8], _ handles: Int, _ transaction: UInt32
  ) -> Bool {
    guard let message = try? Message(decoding: bytes.message, handleCount: handles) else {
      return true
    }
    var canonical: [UInt8] = []
    message.encode(transactionID: transaction, into: &canonical)
    // Handles of fields that are not known are not said again, and no message has more than one of its own.
    guard canonical.count <= bytes.count,
      let again = (try? Message(decoding: canonical.message, handleCount: 0))
        ?? (try? Message(decoding: canonical.message, handleCount: 1))
    else { return false }
    var second: [UInt8] = []
    again.encode(transactionID: transaction, into: &second)
    return again == message && second == canonical
  }
}

extension [UInt8] {
  fileprivate var message: RawSpan {
    // Bytes are never not initialised.
    @_lifetime(borrow self) get { unsafe span.bytes }
  }
}
