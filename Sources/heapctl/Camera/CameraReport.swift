internal import LinuxHeaps
internal import LinuxHeapsV4L2

/// What came of the frames.
struct CameraReport: Encodable {
  struct Screen: Encodable {
    let device: String
    let driver: String
    let connector: String
    let mode: String
    var flips = 0
    /// Buffers that went back to the camera after the fence that told them off the screen.
    var recycledByFence = 0
    /// The same, told by the flip's event alone: the driver has no fences.
    var recycledByEvent = 0
  }

  let device: String
  let driver: String
  let card: String
  let format: String
  let width: Int
  let height: Int
  let bytesPerLine: Int
  let heap: String
  let contiguous: Bool
  let buffers: Int
  let bufferBytes: UInt64
  private(set) var frames = 0
  /// Frames for which the camera found no buffer.
  private(set) var lostFrames = 0
  private(set) var damagedFrames = 0
  private(set) var bytes: UInt64 = 0
  private(set) var framesPerSecond: Double?
  var saved: String?
  var interrupted = false
  var screen: Screen?
  private var times: (first: Int64, last: Int64)?
  private var sequence: UInt32?

  enum CodingKeys: CodingKey {
    case device, driver, card, format, width, height, bytesPerLine, heap, contiguous, buffers
    case bufferBytes, frames, lostFrames, damagedFrames, bytes, framesPerSecond, saved, interrupted
    case screen
  }

  init(
    _ device: VideoDevice, _ format: VideoFormat, heap: String, contiguous: Bool, buffers: Int,
    bufferBytes: UInt64
  ) {
    self.device = device.path
    driver = device.driver
    card = device.card
    self.format = "\(format.pixelFormat)"
    width = format.width
    height = format.height
    bytesPerLine = format.bytesPerLine
    self.heap = heap
    self.contiguous = contiguous
    self.buffers = buffers
    self.bufferBytes = bufferBytes
  }

  mutating func add(_ frame: borrowing Frame) {
    frames += 1
    bytes += frame.bytesUsed
    if frame.isDamaged { damagedFrames += 1 }
    // The number wraps.
    if let sequence { lostFrames += max(0, Int(Int32(bitPattern: frame.sequence &- sequence)) - 1) }
    sequence = frame.sequence
    let first = times?.first ?? frame.microseconds
    times = (first, frame.microseconds)
    if frame.microseconds > first {
      let rate = Double(frames - 1) * 1_000_000 / Double(frame.microseconds - first)
      framesPerSecond = (rate * 100).rounded() / 100
    }
  }

  var lines: [String] {
    let rate = framesPerSecond.map { "\($0) a second" } ?? "too few for a rate"
    var lines = [
      "\(card) (\(device), \(driver)): \(width)x\(height) \(format)",
      "  into \(buffers) buffers of \(bufferBytes.asByteCount) of \(heap): written by the device, not copied",
      "  \(frames) frames, \(rate); \(lostFrames) lost, \(damagedFrames) damaged; \(bytes.asByteCount)",
    ]
    if let screen {
      lines.append(
        "  shown by \(screen.driver) (\(screen.device)) on \(screen.connector), mode \(screen.mode): "
          + "\(screen.flips) flips; \(screen.recycledByFence) buffers recycled by fence, "
          + "\(screen.recycledByEvent) by event")
    }
    if let saved { lines.append("  the last frame is in \(saved)") }
    if interrupted { lines.append("  ended by a signal") }
    return lines
  }
}
