internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

/// Frames on a screen, from the buffers that the camera writes.
struct CameraScreen: ~Copyable {
  private let device: DRMDevice
  private var scanout: Scanout
  private let layout: ImageLayout
  /// Imported once for each buffer.
  private var framebuffers: [VMOIdentity: Framebuffer]
  private(set) var report: CameraReport.Screen

  /// - Parameter connector: The name of one; nil for the first with a display.
  init(_ device: consuming DRMDevice, connector name: String?, _ format: VideoFormat)
    throws(HeapError)
  {
    let connector = try DisplayChoice.connector(name, of: device)
    let operation = "show \(format) at \(connector.name)"
    guard let code = FourCC(v4l2: format.pixelFormat.rawValue) else {
      throw HeapError(
        .notSupported, operation, at: device.path,
        cause: "the layout of V4L2's \(format.pixelFormat) is not known")
    }
    let mode = try DisplayChoice.mode("\(format.width)x\(format.height)", of: connector, device)
    let laidOut: ImageLayout
    do throws(ImageLayoutError) {
      laidOut = try ImageLayout(
        code, size: mode.size, bytesPerRow: UInt32(clamping: format.bytesPerLine))
    } catch {
      throw HeapError(.notSupported, operation, at: device.path, cause: "\(error)")
    }
    let taken = try Scanout(device, connector: connector, mode: mode)
    scanout = taken
    layout = laidOut
    framebuffers = [:]
    report = CameraReport.Screen(
      device: device.path, driver: device.driver, connector: connector.name, mode: "\(mode)")
    self.device = device
  }

  /// Has the driver import a buffer, before the camera has it.
  mutating func prepare(_ vmo: borrowing VMO) throws(HeapError) {
    framebuffers[vmo.identity] = try device.framebuffer(of: vmo, layout)
  }

  /// Puts a frame on the screen and returns when the one before it is off: its buffer may be written
  /// again.
  mutating func show(_ vmo: borrowing VMO) throws(HeapError) {
    guard let framebuffer = framebuffers[vmo.identity] else {
      throw HeapError(.internal, "show a frame", cause: "its buffer was not prepared")
    }
    guard scanout.framebuffer != nil else {
      try scanout.show(framebuffer)
      return
    }
    // Who wrote the buffer has told so in its fences; the display's driver waits for them.
    let written = try vmo.fence(before: .reading)
    if let done = try scanout.flip(to: framebuffer, after: written) {
      // videobuf2 waits for no fences of a buffer: who queues it has to.
      try done.wait(for: Self.patience)
      report.recycledByFence += 1
    } else {
      report.recycledByEvent += 1
    }
    _ = try scanout.waitForFlip(within: Self.patience)
    report.flips += 1
  }

  /// A flip takes one vertical blank; this only ends a failure.
  private static let patience = Duration.seconds(30)
}
