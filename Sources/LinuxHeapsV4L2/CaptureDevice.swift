internal import CV4L2
public import LinuxHeaps

/// A camera, open.
public struct CaptureDevice: ~Copyable, Sendable {
  private let node: VideoNode
  private let type: QueueType
  /// What it is. Read when it was opened: whether it takes dma-bufs is asked by VIDIOC_REQBUFS with no
  /// buffers, which takes those of a queue away.
  public let device: VideoDevice

  /// Throws `HeapError.Code.wrongType` for a device that makes no frames, and
  /// `HeapError.Code.notSupported` for one whose frames cannot go into dma-bufs.
  public init(_ path: String) throws(HeapError) {
    let node = try VideoNode(path)
    let device = VideoDevice(node)
    let operation = "open a capture device"
    guard device.kind == .capture, let type = QueueType.capture(of: node) else {
      let cameras = VideoDevice.all().filter { $0.kind == .capture }.map(\.path)
      throw HeapError(
        .wrongType, operation, at: path,
        cause: "\(device.card) (\(device.driver)) is no capture device",
        fix: cameras.isEmpty
          ? "connect a camera and load its driver (without one: modprobe vivid)"
          : "use one of: \(cameras.joined(separator: " "))")
    }
    if device.takesDMABuf == false {
      throw HeapError(
        .notSupported, operation, at: path,
        cause: "the driver \(device.driver) takes no dma-bufs (V4L2_MEMORY_DMABUF)",
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

  /// Sets what frames will be.
  ///
  /// Throws `HeapError.Code.notSupported`, with what the device has, where it would make something
  /// else of it.
  @discardableResult
  public func setFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(type.rawValue, width: width, height: height, pixelFormat)
  }

  /// What setting it would lead to; changes nothing.
  public func tryFormat(
    width: Int, height: Int, _ pixelFormat: VideoFourCC
  ) throws(HeapError) -> VideoFormat {
    try node.setFormat(type.rawValue, width: width, height: height, pixelFormat, isTrial: true)
  }

  /// A queue for frames of the present format; it has the device for itself until it ends.
  ///
  /// - Parameter capacity: How many buffers it holds at most. The driver can make it more.
  public func makeQueue(capacity: Int) throws(HeapError) -> FrameQueue {
    try FrameQueue(node, type, capacity: capacity)
  }
}
