internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

/// Frames on a screen, from the buffers that the camera writes.
struct CameraScreen: ~Copyable {
  private let device: DRMDevice
  private var scanout: Scanout
  private let layout: ImageLayout
  /// What a person can do where the driver does not show frames of this size.
  private let advice: String
  /// Imported once for each buffer.
  private var framebuffers: [VMOIdentity: Framebuffer]
  private(set) var report: CameraReport.Screen

  /// - Parameter connector: The name of one; nil for the first with a display.
  init(
    _ device: consuming DRMDevice, connector name: String?, _ format: VideoFormat,
    of camera: borrowing CaptureDevice
  ) throws(HeapError) {
    let connector = try DisplayChoice.connector(name, of: device)
    let operation = "show \(format) at \(connector.name)"
    guard let code = FourCC(v4l2: format.pixelFormat.rawValue) else {
      throw HeapError(
        .notSupported, operation, at: device.path,
        cause: "the layout of V4L2's \(format.pixelFormat) is not known")
    }
    let frame = SizeU(format)
    let modes = connector.modes.filter { frame.fits(in: $0.size) }
      .sorted { $0.size.width * $0.size.height < $1.size.width * $1.size.height }
    let sizes = camera.sizes(of: format.pixelFormat, in: connector.modes.map(\.size)).map(\.text)
    let advice =
      sizes.isEmpty
      ? "use another --format, or another camera: the screen has "
        + Set(connector.modes.map(\.size.text)).sorted().joined(separator: " ")
      : "use --size with one of: \(sizes.joined(separator: " "))"
    guard let mode = modes.first(where: { $0.size == frame }) ?? modes.first else {
      throw HeapError(
        .notSupported, operation, at: device.path, cause: "the screen has no mode as large as that",
        fix: advice)
    }
    let laidOut: ImageLayout
    do throws(ImageLayoutError) {
      laidOut = try ImageLayout(
        code, size: frame, bytesPerRow: UInt32(clamping: format.bytesPerLine))
    } catch {
      throw HeapError(.notSupported, operation, at: device.path, cause: "\(error)")
    }
    let taken = try Scanout(device, connector: connector, mode: mode)
    let shown = taken.formats
    guard shown.isEmpty || shown.contains(code) else {
      let formats = camera.device.formats.filter { format in
        FourCC(v4l2: format.rawValue).map { shown.contains($0) } ?? false
      }
      throw HeapError(
        .notSupported, operation, at: device.path,
        cause: "\(device.driver) does not display this format",
        fix: formats.isEmpty
          ? "use another camera"
          : "use --format with one of: " + formats.map { "\($0)" }.joined(separator: " "))
    }
    scanout = taken
    layout = laidOut
    self.advice = advice
    framebuffers = [:]
    report = CameraReport.Screen(
      device: device.path, driver: device.driver, connector: connector.name, mode: "\(mode)",
      placed: mode.size != frame)
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
    guard scanout.framebuffer != nil else { return try showFirst(framebuffer) }
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

  private mutating func showFirst(_ framebuffer: Framebuffer) throws(HeapError) {
    guard report.placed else { return try scanout.show(framebuffer) }
    do throws(HeapError) { try scanout.place(framebuffer) } catch  where error.errno == nil {
      throw HeapError(
        error.code, error.operation, at: error.path?.string, cause: error.cause, fix: advice)
    }
  }

  /// A flip takes one vertical blank; this only ends a failure.
  private static let patience = Duration.seconds(30)
}

extension SizeU {
  init(_ format: VideoFormat) {
    self.init(width: UInt32(clamping: format.width), height: UInt32(clamping: format.height))
  }

  var text: String { "\(width)x\(height)" }

  func fits(in other: SizeU) -> Bool { width <= other.width && height <= other.height }
}

extension CaptureDevice {
  /// Those of the sizes that the camera can make, the largest first. Of a range it is asked, which has steps, and a least size.
  func sizes(of format: VideoFourCC, in modes: [SizeU]) -> [SizeU] {
    let offered = sizes(of: format)
    let hasRange = offered.contains(where: \.isLargestOfRange)
    var common: Set<SizeU> = []
    for mode in Set(modes) {
      let (width, height) = (Int(mode.width), Int(mode.height))
      if offered.contains(where: {
        !$0.isLargestOfRange && ($0.width, $0.height) == (width, height)
      })
        || hasRange && (try? tryFormat(width: width, height: height, format)) != nil
      {
        common.insert(mode)
      }
    }
    return common.sorted { $0.width * $0.height > $1.width * $1.height }
  }
}
