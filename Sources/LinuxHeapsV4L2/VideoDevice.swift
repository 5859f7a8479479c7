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
  /// Of each of them the discrete sizes, or the largest of a range.
  public let sizes: [VideoFourCC: [FrameSize]]
  /// What its frames are now; nil where it does not say.
  public let format: VideoFormat?
  /// Where frames can go; nil where the device is in use and does not say.
  public let memory: VideoMemory?
  /// Whether frames can go straight into dma-bufs; nil where the device does not say.
  public var takesDMABuf: Bool? { memory?.contains(.dmaBuf) }

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
    sizes = Dictionary(formats.map { ($0, node.sizes($0)) }) { first, _ in first }
    format = queue.flatMap { try? node.format($0.rawValue) }
    let streams = node.has(V4L2_CAP_STREAMING)
    memory = queue.map { streams ? node.memory($0.rawValue) : [] } ?? []
  }
}

/// Where a device's frames can go (`V4L2_BUF_CAP_SUPPORTS_*`).
public struct VideoMemory: OptionSet, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// Memory of the driver's own, which processes map.
  public static let mmap = VideoMemory(rawValue: UInt32(V4L2_BUF_CAP_SUPPORTS_MMAP))
  /// A process's memory.
  public static let userPointer = VideoMemory(rawValue: UInt32(V4L2_BUF_CAP_SUPPORTS_USERPTR))
  /// Dma-bufs, of whichever exporter.
  public static let dmaBuf = VideoMemory(rawValue: UInt32(V4L2_BUF_CAP_SUPPORTS_DMABUF))

  /// `mmap`, `userptr`, `dmabuf`.
  public var names: [String] {
    [(Self.mmap, "mmap"), (.userPointer, "userptr"), (.dmaBuf, "dmabuf")]
      .filter { contains($0.0) }.map(\.1)
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
