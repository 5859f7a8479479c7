import HeapProtocol
package import LinuxHeaps

// The protocols' own requests, well formed.

/// A request's refusal, by its status.
package struct Refusal: Error, Equatable {
  package let code: HeapError.Code

  package init(code: HeapError.Code) { self.code = code }
}

extension WireClient {
  /// The new buffer's vmo; throws ``Refusal``.
  package func allocate(
    _ index: UInt64 = 0, of collection: UInt64 = 7, size: UInt64 = pageSize,
    settings: SingleBufferSettings = SingleBufferSettings()
  ) throws -> SharedFD {
    let request = AllocateVmoRequest(
      size: size, settings: settings, bufferCollectionID: collection, bufferIndex: index)
    let reply = try ask { request.encode(transactionID: $0, into: &$1) }
    switch reply.decode(AllocateVmoResult.self) {
    case .vmo(let index): return reply.handles[index.rawValue]
    case .status(let status): throw Refusal(code: HeapError.Code(rawValue: status))
    case nil: throw Unexpected("AllocateVmo's answer", reply)
    }
  }

  /// The status of a refused allocation; nil where it was served. The new buffer is deleted.
  package func refusal(
    _ index: UInt64 = 0, of collection: UInt64 = 7, size: UInt64 = pageSize
  ) throws -> HeapError.Code? {
    do {
      try receiveDeleted(sendDeleteOfNew(index, of: collection, size: size))
      return nil
    } catch let refusal as Refusal {
      return refusal.code
    }
  }

  /// Its own handle is closed on return.
  private func sendDeleteOfNew(
    _ index: UInt64, of collection: UInt64, size: UInt64
  ) throws -> UInt32 {
    try sendDelete(index, of: collection, allocate(index, of: collection, size: size))
  }

  /// Passes a handle back; the caller's own stays open as long as `handle` does.
  @discardableResult
  package func sendDelete(_ index: UInt64 = 0, of collection: UInt64 = 7, _ handle: SharedFD) throws
    -> UInt32
  {
    let request = DeleteVmoRequest(bufferCollectionID: collection, bufferIndex: index)
    return try self.request(handle) { request.encode(transactionID: $0, into: &$1) }
  }

  /// Gives a buffer back: the last handle to it is the message's.
  package func delete(_ index: UInt64 = 0, of collection: UInt64 = 7, _ handle: inout SharedFD?)
    throws
  {
    try sendDelete(index, of: collection, handle!)
    handle = nil
    try receiveDeleted(lastTransaction)
  }

  /// Waits for the fence.
  package func receiveDeleted(_ transaction: UInt32) throws {
    let reply = try receive()
    guard reply?.decode(DeleteVmoReply.self) != nil,
      reply?.header?.transactionID == transaction
    else { throw Unexpected("DeleteVmo's answer to \(transaction)", reply) }
  }

  /// The key of the buffer that a handle is of; nil where there is none.
  package func info(_ handle: SharedFD) throws -> BufferKey? {
    let reply = try ask(handle) { GetVmoInfoRequest().encode(transactionID: $0, into: &$1) }
    switch reply.decode(GetVmoInfoReply.self)?.result {
    case .success(let info): return info
    case .failure(.notFound): return nil
    default: throw Unexpected("GetVmoInfo's answer", reply)
    }
  }

  package func attach(_ serverEnd: SharedFD, to collection: UInt64, remaining: UInt32) throws {
    let request = AttachLifetimeTrackingRequest(
      buffersRemaining: remaining, bufferCollectionID: collection)
    let reply = try ask(serverEnd) { request.encode(transactionID: $0, into: &$1) }
    switch reply.decode(AttachLifetimeTrackingReply.self)?.result {
    case .success: return
    case .failure(let status): throw Refusal(code: HeapError.Code(rawValue: status))
    default: throw Unexpected("AttachLifetimeTracking's answer", reply)
    }
  }

  @discardableResult
  package func sendAwait(_ handle: SharedFD) throws -> UInt32 {
    try request(handle) { AwaitReclaimedRequest().encode(transactionID: $0, into: &$1) }
  }

  /// The status of a refused AwaitReclaimed; nil where it is answered by success.
  package func awaitRefusal(_ handle: SharedFD) throws -> HeapError.Code? {
    let reply = try ask(handle) { AwaitReclaimedRequest().encode(transactionID: $0, into: &$1) }
    switch reply.decode(AwaitReclaimedReply.self)?.result {
    case .success: return nil
    case .failure(let status): return HeapError.Code(rawValue: status)
    default: throw Unexpected("AwaitReclaimed's answer", reply)
    }
  }

  package func receiveReclaimed(_ transaction: UInt32) throws {
    let reply = try receive()
    guard case .success = reply?.decode(AwaitReclaimedReply.self)?.result,
      reply?.header?.transactionID == transaction
    else { throw Unexpected("AwaitReclaimed's answer to \(transaction)", reply) }
  }
}
