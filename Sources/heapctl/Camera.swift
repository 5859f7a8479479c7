internal import ArgumentParser
internal import Glibc
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

struct Camera: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Captures a camera's frames straight into heap buffers, and shows or saves them.",
    discussion: """
      The camera writes into the buffers (V4L2 DMABUF); with --show the display's driver scans the same \
      buffers out, and a buffer returns to the camera once a fence signals that it is off the screen. \
      SIGINT, SIGTERM and SIGHUP stop it cleanly.
      """)

  @Option(help: ArgumentHelp("The camera: a /dev/videoN.", valueName: "device"))
  var device: String

  @Option(parsing: .unconditional, help: ArgumentHelp("Number of frames.", valueName: "count"))
  var frames = 30

  @Option(
    help: ArgumentHelp(
      "A heap by its whole name, or udmabuf; by default system, or contiguous where the camera requires it.",
      valueName: "name"))
  var heap: String?

  @Flag(help: "Physically contiguous memory, never replaced by other.")
  var contiguous = false

  @Option(
    help: ArgumentHelp("E.g. 1280x720; by default what the camera is set to.", valueName: "size"))
  var size: String?

  @Option(
    help: ArgumentHelp(
      "A fourcc of V4L2, e.g. XR24; by default what the camera is set to.", valueName: "format"))
  var format: String?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Number of buffers in use.", valueName: "count"))
  var buffers = 4

  @Option(help: ArgumentHelp("Write the last frame to this PNG file.", valueName: "file"))
  var save: String?

  @Flag(help: "Show the frames on a display, without a copy.")
  var show = false

  @Option(
    help: ArgumentHelp(
      "With --show: a node of /dev/dri or a driver's name; by default the first with a display.",
      valueName: "device"))
  var screen: String?

  @Option(
    help: ArgumentHelp(
      "With --show: e.g. HDMI-A-1; by default the first with a display.", valueName: "name"))
  var connector: String?

  @OptionGroup var output: OutputChoice

  func validate() throws {
    if frames < 1 { throw ValidationError("--frames must be at least 1") }
    // One with the camera, one coming, one on the screen.
    guard (3...32).contains(buffers) else { throw ValidationError("--buffers must be 3 to 32") }
    if !show && (screen != nil || connector != nil) {
      throw ValidationError("--screen and --connector are of use with --show only")
    }
    _ = try wantedSize()
    if let format, VideoFourCC(format) == nil {
      throw ValidationError("--format takes at most four letters, e.g. XR24, not '\(format)'")
    }
  }

  private func wantedSize() throws -> (width: Int, height: Int)? {
    guard let size else { return nil }
    let numbers = size.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
    guard numbers.count == 2, numbers.allSatisfy({ (1...65_536).contains($0) }) else {
      throw ValidationError("--size is e.g. 1280x720, not '\(size)'")
    }
    return (numbers[0], numbers[1])
  }

  func run() async throws { try await reporting { try await stream() } }

  private func stream() async throws {
    let picture = try save.map { try OutputFile("save a frame", at: $0) }
    let end = try SignalPipe()
    let camera = try CaptureDevice(device)
    let format = try setFormat(of: camera)
    if picture != nil { try FramePixels.check(format) }
    var sources = try MemorySource.candidates(named: heap, contiguous: contiguous)[...]
    // One for each try: what a try before has left is reclaimed when the kernel says so.
    var collection = UInt64(getpid()) << 8
    while let source = sources.popFirst() {
      collection += 1
      do {
        let report = try await stream(
          camera, format, source, collection, end, saving: picture)
        if output.json { return try showJSON(report, named: "camera") }
        return report.lines.forEach(heapctl.show)
      } catch let error as HeapError where error.errno == .badAddress && !sources.isEmpty {
        tell("\(error)\ntrying contiguous memory")
      }
    }
  }

  private func setFormat(of camera: borrowing CaptureDevice) throws -> VideoFormat {
    let present = try camera.format()
    let wanted = format.flatMap { VideoFourCC($0) }
    // What every display takes.
    let shown = show && camera.device.formats.contains(.xr24) ? VideoFourCC.xr24 : nil
    let size = try wantedSize() ?? (present.width, present.height)
    return try camera.setFormat(
      width: size.width, height: size.height, wanted ?? shown ?? present.pixelFormat)
  }

  private func stream(
    _ camera: borrowing CaptureDevice, _ format: VideoFormat, _ source: MemorySource,
    _ collection: UInt64, _ end: SignalPipe, saving picture: OutputFile?
  ) async throws -> CameraReport {
    let (report, left) = try capture(camera, format, source, collection, end, saving: picture)
    // The camera and the screen have let go of them.
    for vmo in left {
      guard let vmo = vmo.take() else { continue }
      let key = try source.heap.info(of: vmo)
      try await source.heap.deleteVmo(
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
    }
    return report
  }

  /// The buffers come back with the report.
  private func capture(
    _ camera: borrowing CaptureDevice, _ format: VideoFormat, _ source: MemorySource,
    _ collection: UInt64, _ end: SignalPipe, saving picture: OutputFile?
  ) throws -> (CameraReport, [ReturnedVMO]) {
    var screen = try openScreen(format)
    var queue = try camera.makeQueue(capacity: buffers)
    var heapName = ""
    for index in 0..<UInt64(buffers) {
      let vmo = try source.heap.allocateVmo(
        size: format.byteCount, settings: source.settings, bufferCollectionID: collection,
        bufferIndex: index)
      heapName = vmo.heapName ?? ""
      try screen?.prepare(vmo)
      try queue.enqueue(vmo)
    }
    let device = camera.device
    var report = CameraReport(
      device: device.path, driver: device.driver, card: device.card,
      format: "\(format.pixelFormat)", width: format.width, height: format.height,
      bytesPerLine: format.bytesPerLine, heap: heapName,
      contiguous: source.settings.bufferSettings?.isPhysicallyContiguous == true,
      buffers: buffers, bufferBytes: format.byteCount.roundedUpToPages ?? format.byteCount)

    try queue.start()
    // Kept until the next: on the screen, and to be saved.
    var last: ReturnedVMO?
    while report.frames < frames {
      // As long as a camera may take to adapt to the light; it only ends a failure.
      guard let frame = try queue.dequeue(for: .seconds(60), unlessReadable: end.descriptor) else {
        report.interrupted = true
        break
      }
      report.add(frame)
      let vmo = frame.takeVMO()
      try screen?.show(vmo)
      if let before = last?.take() { try queue.enqueue(before) }
      last = ReturnedVMO(vmo)
    }
    var left = try queue.stop()
    report.screen = screen?.report
    if let vmo = last?.take() {
      if let picture {
        let rgb = try FramePixels.rgb(of: vmo, format)
        try picture.write(PNG.file(width: format.width, height: format.height, rgb: rgb))
        report.saved = save
      }
      left.append(ReturnedVMO(vmo))
    }
    return (report, left)
  }

  private func openScreen(_ format: VideoFormat) throws(HeapError) -> CameraScreen? {
    guard show else { return nil }
    return try CameraScreen(try DisplayChoice.device(screen), connector: connector, format)
  }
}

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
  var frames = 0
  /// Frames for which the camera found no buffer.
  var lostFrames = 0
  var damagedFrames = 0
  var bytes: UInt64 = 0
  var framesPerSecond: Double?
  var saved: String?
  var interrupted = false
  var screen: Screen?
  fileprivate var firstTime: Int64?
  fileprivate var sequence: UInt32?

  enum CodingKeys: CodingKey {
    case device, driver, card, format, width, height, bytesPerLine, heap, contiguous, buffers
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
