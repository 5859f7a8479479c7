internal import CV4L2
public import LinuxHeaps
internal import SystemPackage

/// A size of frame that a device offers.
public struct FrameSize: Hashable, Sendable, CustomStringConvertible {
  public let width: Int
  public let height: Int
  /// The device offers a range of sizes up to this one.
  public let isLargestOfRange: Bool

  public var description: String {
    (isLargestOfRange ? "up to " : "") + "\(width)x\(height)"
  }
}

/// What a `/dev/videoN` is.
public struct VideoDevice: Hashable, Sendable {
  public enum Kind: String, Sendable {
    /// It makes frames: a camera.
    case capture
    /// It takes frames and gives others: a codec, a converter.
    case memoryToMemory = "memory-to-memory"
    /// It shows frames, has no frames (radio, metadata), or has them in no way known here.
    case other
  }

  public let path: String
  /// A person's name for the device, with control characters as `\u{…}`: a USB device chooses it.
  public let card: String
  public let driver: String
  /// Where it is, e.g. `platform:vivid-000`.
  public let bus: String
  public let kind: Kind
  /// Whether it speaks the multi-planar interface.
  public let isMultiPlanar: Bool
  /// Of the frames that come out of it.
  public let formats: [VideoFourCC]
  /// Whether frames can go straight into dma-bufs; nil where the device is in use and does not say.
  public let takesDMABuf: Bool?

  /// Every `/dev/videoN` that this process may open, in the order of numbers.
  public static func all() -> [VideoDevice] {
    paths().compactMap { path in try? VideoDevice(path) }
  }

  /// Every `/dev/videoN`, in the order of numbers.
  public static func paths() -> [String] {
    let names = (try? SmallFile.entries(of: "/dev")) ?? []
    return names.filter { $0.hasPrefix("video") }
      .compactMap { Int($0.dropFirst(5)) }.sorted().map { "/dev/video\($0)" }
  }

  public init(_ path: String) throws(HeapError) {
    self.init(try VideoNode(path))
  }

  init(_ node: VideoNode) {
    path = node.path
    card = text(node.capability.card)
    driver = text(node.capability.driver)
    bus = text(node.capability.bus_info)
    let queue: QueueType?
    if node.has(V4L2_CAP_VIDEO_M2M, V4L2_CAP_VIDEO_M2M_MPLANE) {
      kind = .memoryToMemory
      queue = .result(of: node)
    } else if node.has(V4L2_CAP_VIDEO_CAPTURE, V4L2_CAP_VIDEO_CAPTURE_MPLANE) {
      kind = .capture
      queue = .capture(of: node)
    } else {
      kind = .other
      queue = nil
    }
    isMultiPlanar = queue?.isMultiPlanar ?? false
    formats = queue.map { node.formats($0.rawValue) } ?? []
    let streams = node.has(V4L2_CAP_STREAMING)
    takesDMABuf = queue.map { streams ? node.takesDMABuf($0.rawValue) : false } ?? false
  }
}

/// `V4L2_BUF_TYPE_VIDEO_*`.
struct QueueType: RawRepresentable, Hashable {
  let rawValue: UInt32

  static let capture = QueueType(rawValue: V4L2_BUF_TYPE_VIDEO_CAPTURE.rawValue)
  static let output = QueueType(rawValue: V4L2_BUF_TYPE_VIDEO_OUTPUT.rawValue)
  static let multiPlanarCapture = QueueType(
    rawValue: V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE.rawValue)
  static let multiPlanarOutput = QueueType(rawValue: V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE.rawValue)

  var isMultiPlanar: Bool { self == .multiPlanarCapture || self == .multiPlanarOutput }
  /// Frames come out of it.
  var isCapture: Bool { self == .capture || self == .multiPlanarCapture }

  /// Nil where frames come out of the device in no way known here.
  static func capture(of node: VideoNode) -> QueueType? {
    node.has(V4L2_CAP_VIDEO_CAPTURE)
      ? .capture : node.has(V4L2_CAP_VIDEO_CAPTURE_MPLANE) ? .multiPlanarCapture : nil
  }

  static func result(of node: VideoNode) -> QueueType {
    node.has(V4L2_CAP_VIDEO_M2M_MPLANE) ? .multiPlanarCapture : .capture
  }

  static func input(of node: VideoNode) -> QueueType {
    node.has(V4L2_CAP_VIDEO_M2M_MPLANE) ? .multiPlanarOutput : .output
  }
}
