internal import LinuxHeaps
internal import LinuxHeapsV4L2

/// What came of the frames.
struct CameraReport: Encodable {
  struct Screen: Encodable {
    let device: String
    let driver: String
    let connector: String
    let mode: String
    /// In the middle of a larger mode.
    let placed: Bool
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
  /// `progressive`; else how lines of two moments come: `interlaced`, `alternate`.
  let field: String
  let width: Int
  let height: Int
  let bytesPerLine: Int
  let heap: String
  /// Absent where nothing tells.
  let contiguous: Bool?
  let buffers: Int
  let bufferBytes: UInt64
  var frames = 0
  /// Frames for which the camera found no buffer.
  var lostFrames = 0
  var damagedFrames = 0
  var bytes: UInt64 = 0
  var framesPerSecond: Double?
  var saved: String?
  var interrupted = false
  var screen: Screen?
  var firstTime: Int64?
  var sequence: UInt32?

  enum CodingKeys: CodingKey {
    case device, driver, card, format, field, width, height, bytesPerLine, heap, contiguous, buffers
    case bufferBytes, frames, lostFrames, damagedFrames, bytes, framesPerSecond, saved, interrupted
    case screen
  }

  mutating func add(_ frame: borrowing Frame) {
    frames += 1
    bytes += frame.bytesUsed
    if frame.isDamaged { damagedFrames += 1 }
    // The number wraps.
    if let sequence { lostFrames += max(0, Int(Int32(bitPattern: frame.sequence &- sequence)) - 1) }
    sequence = frame.sequence
    let first = firstTime ?? frame.microseconds
    firstTime = first
    if frame.microseconds > first {
      let rate = Double(frames - 1) * 1_000_000 / Double(frame.microseconds - first)
      framesPerSecond = (rate * 100).rounded() / 100
    }
  }

  var lines: [String] {
    let rate = framesPerSecond.map { "\($0) a second" } ?? "too few for a rate"
    var lines = [
      "\(card) (\(device), \(driver)): \(width)x\(height) \(format)"
        + (field == "progressive" ? "" : ", \(field): every other line is of another moment"),
      "  into \(buffers) buffers of \(bufferBytes.asByteCount) of \(heap): written by the device, not copied",
      "  \(frames) frames, \(rate); \(lostFrames) lost, \(damagedFrames) damaged; \(bytes.asByteCount)",
    ]
    if let screen {
      lines.append(
        "  shown by \(screen.driver) (\(screen.device)) on \(screen.connector), "
          + "\(screen.placed ? "in the middle of " : "")mode \(screen.mode): "
          + "\(screen.flips) flips; \(screen.recycledByFence) buffers recycled by fence, "
          + "\(screen.recycledByEvent) by event")
    }
    if let saved { lines.append("  the last frame is in \(saved)") }
    if interrupted { lines.append("  ended by a signal") }
    return lines
  }
}
