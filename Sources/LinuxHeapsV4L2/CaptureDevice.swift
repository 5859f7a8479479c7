internal import CV4L2
public import LinuxHeaps

/// A camera, open.
public struct CaptureDevice: ~Copyable, Sendable {
  private let node: VideoNode
  private let type: QueueType
  /// What it is. Read when it was opened: whether it takes dma-bufs is asked by VIDIOC_REQBUFS with no
  /// buffers, which takes those of a queue away.
  public let device: VideoDevice

  /// - Throws: `HeapError.Code.wrongType` for a device that makes no frames, and
  ///   `HeapError.Code.notSupported` for one whose frames cannot go into dma-bufs.
  public init(_ path: String) throws(HeapError) {
    let node = try VideoNode(path)
    let device = VideoDevice(node)
    let operation = "open a capture device"
    guard device.kind == .capture, let type = QueueType.capture(of: node) else {
      let cameras = VideoDevice.all().filter { $0.kind == .capture }.map(\.path)
      throw HeapError(
        .wrongType, operation, at: path,
        cause: "\(device.card) (\(device.driver)) is not a capture device",
        fix: cameras.isEmpty
          ? "connect a camera and load its driver, or \(KernelModule.vivid.fix)"
          : "use one of: \(cameras.joined(separator: " "))")
    }
    if device.takesDMABuf == false {
      throw HeapError(
        .notSupported, operation, at: path,
        cause: "the driver \(device.driver) does not accept dma-bufs (V4L2_MEMORY_DMABUF)",
        fix: "use a device whose driver does; most that are built on videobuf2 do")
    }
    self.node = node
    self.type = type
    self.device = device
  }

  public var path: String { node.path }

  /// The discrete sizes of a format, or the largest of a range.
  public func sizes(of format: VideoFourCC) -> [FrameSize] { node.sizes(format) }

  public func format() throws(HeapError) -> VideoFormat { try node.format(type.rawValue) }

  /// Has the present format, whole, set again when this value and its queues have ended. A format outlasts its setter.
  public func keepFormat() throws(HeapError) { try node.keepFormat(type.rawValue) }

  /// Sets what frames will be.
  ///
  /// - Throws: `HeapError.Code.notSupported`, with what the device has, where it would choose another
  ///   format or size.
  @discardableResult
  public func setFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(type.rawValue, width: width, height: height, pixelFormat)
  }

  /// What setting it would result in; changes nothing.
  public func tryFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(type.rawValue, width: width, height: height, pixelFormat, isTrial: true)
  }

  /// A queue for frames of the present format; it has the device for itself until it ends.
  ///
  /// - Parameter capacity: How many buffers it holds; the driver can raise it.
  public func makeQueue(capacity: Int) throws(HeapError) -> FrameQueue {
    try FrameQueue(node, type, capacity: capacity)
  }
}

/// A device that makes frames of frames, open: a codec, a scaler, a converter.
public struct MemoryToMemoryDevice: ~Copyable, Sendable {
  private let node: VideoNode
  private let input: QueueType
  private let result: QueueType

  /// - Throws: `HeapError.Code.wrongType` for another kind of device.
  public init(_ path: String) throws(HeapError) {
    let node = try VideoNode(path)
    let device = VideoDevice(node)
    guard device.kind == .memoryToMemory else {
      throw HeapError(
        .wrongType, "open a memory-to-memory device", at: path,
        cause: "\(device.card) (\(device.driver)) is not a memory-to-memory device")
    }
    self.node = node
    input = .input(of: node)
    result = .result(of: node)
  }

  public var inputFormats: [VideoFourCC] { node.formats(input.rawValue) }
  public var resultFormats: [VideoFourCC] { node.formats(result.rawValue) }

  /// Sets what goes in. It comes first: some devices derive from it what they can give.
  @discardableResult
  public func setInputFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(input.rawValue, width: width, height: height, pixelFormat)
  }

  /// Sets what comes out.
  @discardableResult
  public func setResultFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(result.rawValue, width: width, height: height, pixelFormat)
  }

  /// A queue for what goes in (V4L2's output).
  public func makeInputQueue(capacity: Int) throws(HeapError) -> FrameQueue {
    try FrameQueue(node, input, capacity: capacity)
  }

  /// A queue for what comes out (V4L2's capture).
  public func makeResultQueue(capacity: Int) throws(HeapError) -> FrameQueue {
    try FrameQueue(node, result, capacity: capacity)
  }
}
