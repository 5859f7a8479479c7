import HeapProtocol
import LinuxHeaps
import Testing

@Suite struct RoundTripTests {
  @Test(arguments: 0..<300 as Range<UInt64>)
  func `random settings arrive`(_ seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let request = AllocateVmoRequest(
      size: generator.next(), settings: .random(using: &generator),
      bufferCollectionID: generator.next(), bufferIndex: generator.next())
    let bytes = request.encoded()
    #expect(bytes.count.isMultiple(of: 8))
    #expect(try AllocateVmoRequest(bytes, handles: 0) == request)
    let other = AllocateVmoFromRequest(
      size: request.size, settings: request.settings,
      bufferCollectionID: request.key.bufferCollectionID, bufferIndex: request.key.bufferIndex)
    #expect(try AllocateVmoFromRequest(other.encoded(), handles: 1) == other)
  }

  @Test(
    arguments: [
      SingleBufferSettings(), SingleBufferSettings(bufferSettings: BufferMemorySettings()),
      SingleBufferSettings(imageFormatConstraints: ImageFormatConstraints()), .contiguous, .full,
      .empties, .bounds,
    ])
  func `settings arrive at their limits`(_ settings: SingleBufferSettings) throws {
    let request = AllocateVmoRequest(
      size: .max, settings: settings, bufferCollectionID: .max, bufferIndex: 0)
    #expect(try AllocateVmoRequest(request.encoded(.max), handles: 0) == request)
  }

  @Test(arguments: 0..<16)
  func `all properties arrive`(_ bits: Int) throws {
    let event = OnRegisterEvent(
      properties: HeapProperties(
        coherencyDomainSupport: CoherencyDomainSupport(
          cpuSupported: bits & 1 != 0, ramSupported: bits & 2 != 0,
          inaccessibleSupported: bits & 4 != 0),
        needClear: bits & 8 != 0, needFlush: bits % 3 == 0))
    #expect(try OnRegisterEvent(event.encoded(), handles: 0) == event)
  }

  @Test(arguments: [0, 1, -1, .min, .max] as [Int32])
  func `any status arrives`(_ status: Int32) throws {
    func check(_ message: some Message) throws {
      func isSame<Kind: Message>(_ message: Kind) throws -> Bool {
        try Kind(message.encoded(), handles: 0) == message
      }
      #expect(try isSame(message))
    }
    try check(Epitaph(status: status))
    try check(AllocateVmoResult.status(status))
    try check(GetVmoInfoReply(.failure(SysmemError(rawValue: UInt32(bitPattern: status)))))
    try check(GetVmoInfoReply(.frameworkError(status)))
    try check(AttachLifetimeTrackingReply(.failure(status)))
    try check(AttachLifetimeTrackingReply(.frameworkError(status)))
    try check(WatchBuffersReply(.failure(status)))
    try check(WatchBuffersReply(.frameworkError(status)))
    try check(AllocateVmoFromReply(.failure(status)))
    try check(AllocateVmoFromReply(.frameworkError(status)))
    try check(AwaitReclaimedReply(.failure(status)))
    try check(AwaitReclaimedReply(.frameworkError(status)))
    try check(GetStatusReply(.failure(status)))
    try check(GetStatusReply(.frameworkError(status)))
  }

  @Test(arguments: [0, 1, .max] as [UInt64])
  func `any number arrives`(_ number: UInt64) throws {
    let delete = DeleteVmoRequest(bufferCollectionID: number, bufferIndex: ~number)
    #expect(try DeleteVmoRequest(delete.encoded(), handles: 1) == delete)
    let event = OnReclaimedEvent(
      key: BufferKey(bufferCollectionID: number, bufferIndex: ~number))
    #expect(try OnReclaimedEvent(event.encoded(0), handles: 0) == event)
    let info = GetVmoInfoReply(
      .success(BufferKey(bufferCollectionID: number, bufferIndex: ~number)))
    #expect(try GetVmoInfoReply(info.encoded(), handles: 0) == info)
    let status = GetStatusReply(.success(StatusReport(size: number)))
    #expect(try GetStatusReply(status.encoded(), handles: 1) == status)
    let attach = AttachLifetimeTrackingRequest(
      buffersRemaining: UInt32(truncatingIfNeeded: number), bufferCollectionID: number)
    #expect(try AttachLifetimeTrackingRequest(attach.encoded(), handles: 1) == attach)
  }

  // The reader would refuse such a message, and the writer knows the bounds.
  @Test func `what exceeds a bound is not written`() async {
    await #expect(processExitsWith: .failure) {
      _ = SingleBufferSettings.encoded { $0.bufferSettings?.heap?.heapType? += "x" }
    }
    await #expect(processExitsWith: .failure) {
      _ = SingleBufferSettings.encoded { $0.imageFormatConstraints?.colorSpaces?.append(0) }
    }
    await #expect(processExitsWith: .failure) {
      _ = SingleBufferSettings.encoded {
        $0.imageFormatConstraints!.pixelFormatAndModifiers! += $0.imageFormatConstraints!
          .pixelFormatAndModifiers!.prefix(1)
      }
    }
    await #expect(processExitsWith: .failure) {
      _ = SingleBufferSettings.encoded {
        $0.imageFormatConstraints?.requiredMaxSizeList?.append(SizeU(width: 0, height: 0))
      }
    }
  }
}

extension SingleBufferSettings {
  fileprivate static func encoded(_ change: (inout SingleBufferSettings) -> Void) -> [UInt8] {
    var settings = bounds
    change(&settings)
    return AllocateVmoRequest(
      size: 0, settings: settings, bufferCollectionID: 0, bufferIndex: 0
    ).encoded()
  }
}
