/// A whole message, header and body.
public protocol WireMessage {
  /// Checks all of a message, and that its ordinal is this one's.
  ///
  /// - Parameters:
  ///   - message: Its bytes, from the header on.
  ///   - handleCount: How many handles came with it.
  init(decoding message: RawSpan, handleCount: Int) throws(WireError)
}

extension AllocateVmoRequest: WireMessage {}
extension AllocateVmoResult: WireMessage {}
extension DeleteVmoRequest: WireMessage {}
extension DeleteVmoReply: WireMessage {}
extension OnRegisterEvent: WireMessage {}
extension Epitaph: WireMessage {}
extension GetVmoInfoRequest: WireMessage {}
extension GetVmoInfoReply: WireMessage {}
extension AttachLifetimeTrackingRequest: WireMessage {}
extension AttachLifetimeTrackingReply: WireMessage {}
extension AwaitReclaimedRequest: WireMessage {}
extension AwaitReclaimedReply: WireMessage {}
extension GetStatusRequest: WireMessage {}
extension GetStatusReply: WireMessage {}
