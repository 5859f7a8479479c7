internal import CV4L2
public import LinuxHeaps

/// A device that makes frames of frames, open: a codec, a scaler, a converter.
public struct MemoryToMemoryDevice: ~Copyable, Sendable {
  private let node: VideoNode

  /// Throws `HeapError.Code.wrongType` for another kind of device.
  public init(_ path: String) throws(HeapError) {
    let node = try VideoNode(path)
    let device = VideoDevice(node)
    guard device.kind == .memoryToMemory else {
      throw HeapError(
        .wrongType, "open a memory-to-memory device", at: path,
        cause: "\(device.card) (\(device.driver)) is none")
    }
    self.node = node
  }

  public var inputFormats: [VideoFourCC] { node.formats(QueueType.input(of: node).rawValue) }
  public var resultFormats: [VideoFourCC] { node.formats(QueueType.result(of: node).rawValue) }

  /// Sets what goes in. It comes first: some devices derive from it what they can give.
  @discardableResult
  public func setInputFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(
      QueueType.input(of: node).rawValue, width: width, height: height, pixelFormat)
  }

  /// Sets what comes out.
  @discardableResult
  public func setResultFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(
      QueueType.result(of: node).rawValue, width: width, height: height, pixelFormat)
  }

  /// A queue for what goes in (V4L2's output).
  public func makeInputQueue(capacity: Int) throws(HeapError) -> FrameQueue {
    try FrameQueue(node, .input(of: node), capacity: capacity)
  }

  /// A queue for what comes out (V4L2's capture).
  public func makeResultQueue(capacity: Int) throws(HeapError) -> FrameQueue {
    try FrameQueue(node, .result(of: node), capacity: capacity)
  }
}
