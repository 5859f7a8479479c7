internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

/// Frames of one camera, straight into a heap's buffers.
struct CameraTrial {
  let path: String
  let driver: String
  private(set) var width: Int
  private(set) var height: Int
  let pixelFormat: VideoFourCC

  enum Outcome: Equatable {
    /// Every frame came, and its bytes are in the buffer.
    case streamed
    /// The device cannot reach the memory: it needs contiguous.
    case refused
  }

  /// With what the camera is set to.
  ///
  /// - Parameter isLarge: With frames of several MiB instead, where it has such: the system heap gives
  ///   out pieces of 1 MiB, which may lie side by side by luck.
  init(_ path: String, isLarge: Bool = false) throws(HeapError) {
    let device = try CaptureDevice(path)
    let present = try device.format()
    let hasXR24 = device.device.formats.contains(.xr24)
    let pixelFormat = isLarge && hasXR24 ? .xr24 : present.pixelFormat
    self.path = path
    self.pixelFormat = pixelFormat
    driver = device.device.driver
    (width, height) =
      (isLarge ? Self.size(of: device.sizes(of: pixelFormat)) : nil)
      ?? (present.width, present.height)
  }

  /// Of 1280x720 pixels, or the next that is offered: the largest of a range can be more than a region
  /// holds.
  static func size(of offered: [FrameSize]) -> (width: Int, height: Int)? {
    let sizes = offered.map {
      $0.isLargestOfRange ? (min($0.width, 1280), min($0.height, 720)) : ($0.width, $0.height)
    }.sorted { $0.0 * $0.1 < $1.0 * $1.1 }
    return sizes.first { $0.0 * $0.1 >= 1280 * 720 } ?? sizes.last
  }

  /// Every camera here that takes dma-bufs and is not in use.
  static func paths() -> [String] {
    VideoDevice.all().filter { $0.kind == .capture && $0.takesDMABuf == true }.map(\.path)
  }

  /// The first camera that refuses memory which is in pieces.
  static func demanding() throws -> CameraTrial? {
    for path in paths() {
      var trial = try CameraTrial(path, isLarge: true)
      let bench = try CheckBench(try scattered())
      if try trial.run(bench) == .refused { return trial }
    }
    return nil
  }

  /// A heap whose buffers are in pieces.
  private static func scattered() throws(Skip) -> HeapUnderTest {
    // Pages of a memfd, one by one; several MiB of them do not lie side by side.
    if UDMABufHeap.isUsable { return .udmabuf }
    let system = HeapCatalog().heaps().first { $0.role == .system && $0.isUsable }
    guard let system else {
      throw Skip(
        reason: "no heap here has memory in pieces, which shows what a camera needs "
          + "(\(KernelModule.udmabuf.fix))")
    }
    return .dmaHeap(system.name, role: .system)
  }

  /// Streams two frames into two buffers of the bench's heap, lets go of all, and leaves the camera
  /// set as it was. Where the heap has no buffers so large, as one of huge pages, with smaller frames.
  mutating func run(_ bench: CheckBench) throws -> Outcome {
    while true {
      do {
        return try stream(bench)
      } catch let error as HeapError where error.code == .noMemory && width > 320 {
        width /= 2
        height /= 2
      }
    }
  }

  private func stream(_ bench: CheckBench) throws -> Outcome {
    let device = try CaptureDevice(path)
    try device.keepFormat()
    let format = try device.setFormat(width: width, height: height, pixelFormat)
    let first = try bench.allocate(format.byteCount, index: 1 << 32)
    let second = try bench.allocate(format.byteCount, index: 1 << 33)
    try first.fill(Self.untouched)
    try second.fill(Self.untouched)
    let watch = try first.duplicate()
    let before = try bench.referenceCount(of: watch)
    let outcome = try stream(device, first, second, bench)
    let held = try bench.referenceCount(of: watch)
    try expect(
      (held ?? 0) < (before ?? 0),
      "\(path) lets go of a buffer at the end: count was \(before ?? 0), is \(held ?? 0)")
    return outcome
  }

  /// A byte that a camera's frame is not made of from end to end.
  private static let untouched: UInt8 = 0x5A

  private func stream(
    _ device: borrowing CaptureDevice, _ first: consuming VMO, _ second: consuming VMO,
    _ bench: CheckBench
  ) throws -> Outcome {
    var queue = try device.makeQueue(capacity: 2)
    guard try Self.hasTaken(&queue, first), try Self.hasTaken(&queue, second) else {
      return .refused
    }
    try queue.start()
    for _ in 0..<2 {
      let frame = try wholeFrame(of: &queue, within: bench.subject.patience)
      try Self.check(frame, of: queue.format)
    }
    return .streamed
  }

  /// The next that is not damaged: many cameras begin in the middle of one.
  private func wholeFrame(
    of queue: inout FrameQueue, within patience: Duration
  ) throws(HeapError) -> Frame {
    for _ in 0..<8 {
      let frame = try queue.dequeue(for: patience)
      if !frame.isDamaged { return frame }
      try queue.enqueue(frame.takeVMO())
    }
    throw HeapError(
      .io, "wait for a whole frame", at: path, cause: "eight in a row were damaged",
      fix: "see the kernel's messages: dmesg")
  }

  private static func check(_ frame: borrowing Frame, of format: VideoFormat) throws {
    let (isFilled, bytesUsed) = (fillsBuffer(format), frame.bytesUsed)
    if isFilled {
      try expectEqual(bytesUsed, format.byteCount, "the frame's bytes")
    } else {
      try expect(
        bytesUsed > 0 && bytesUsed <= format.byteCount,
        "a frame of \(bytesUsed) bytes is one of 1 to \(format.byteCount)")
    }
    let end = Int(bytesUsed)
    for start in isFilled ? [0, max(0, end - 64)] : [0] {
      let isWritten = try isWritten(frame.vmo, start..<min(start + 64, end))
      try expect(isWritten, "the device's bytes show at \(start) of the mapping")
    }
  }

  private static func isWritten(
    _ vmo: borrowing VMO, _ offsets: Range<Int>
  ) throws(HeapError) -> Bool {
    let mapping = try vmo.mapReadOnly()
    for offset in offsets {
      if try mapping.byte(at: offset) != untouched { return true }
    }
    return false
  }

  /// Whether a frame takes all that its buffer must have: one that is compressed does not, nor one whose
  /// driver asks for spare room.
  static func fillsBuffer(_ format: VideoFormat) -> Bool {
    let size = SizeU(width: UInt32(clamping: format.width), height: UInt32(clamping: format.height))
    guard let code = FourCC(v4l2: format.pixelFormat.rawValue),
      let layout = try? ImageLayout(
        code, size: size, bytesPerRow: UInt32(clamping: format.bytesPerLine))
    else { return false }
    return layout.byteCount == format.byteCount
  }

  private static func hasTaken(
    _ queue: inout FrameQueue, _ vmo: consuming VMO
  ) throws(HeapError) -> Bool {
    do throws(HeapError) {
      try queue.enqueue(vmo)
      return true
    } catch {
      if error.errno != .badAddress { throw error }
      return false
    }
  }
}
