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
      A frame of no mode's size is shown in the middle of a larger one, where the driver can; without \
      --size the camera takes a size of a mode, where it has one. Its format is set back at the end. \
      SIGINT, SIGTERM and SIGHUP stop it cleanly.
      """)

  @Option(
    help: ArgumentHelp("The camera: a /dev/videoN.", valueName: "device"), completion: .cameras)
  var device: String

  @Option(parsing: .unconditional, help: ArgumentHelp("Number of frames.", valueName: "count"))
  var frames = 30

  @Option(
    help: ArgumentHelp(
      "A heap by its whole name, or udmabuf; by default system, or contiguous where the camera requires it.",
      valueName: "name"), completion: .heaps)
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

  @Option(
    help: ArgumentHelp("Write the last frame to this PNG file.", valueName: "file"),
    completion: .file())
  var save: String?

  @Flag(help: "Show the frames on a display, without a copy.")
  var show = false

  @Option(
    help: ArgumentHelp(
      "With --show: a node of /dev/dri or a driver's name; by default the first with a display.",
      valueName: "device"), completion: .displays)
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
    let modes =
      show
      ? try DisplayChoice.connector(connector, of: DisplayChoice.device(screen)).modes.map(\.size)
      : []
    let format = try setFormat(of: camera, for: modes)
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

  /// - Parameter modes: Of the screen.
  private func setFormat(
    of camera: borrowing CaptureDevice, for modes: [SizeU]
  ) throws -> VideoFormat {
    let present = try camera.format()
    try camera.keepFormat()
    let wanted = format.flatMap { VideoFourCC($0) }
    // What every display takes.
    let shown = show && camera.device.formats.contains(.xr24) ? VideoFourCC.xr24 : nil
    let pixelFormat = wanted ?? shown ?? present.pixelFormat
    let now = SizeU(present)
    func distance(_ size: SizeU) -> Int {
      abs(Int(size.width * size.height) - present.width * present.height)
    }
    var size =
      modes.contains(now)
      ? now
      : camera.sizes(of: pixelFormat, in: modes).min { distance($0) < distance($1) } ?? now
    if let (width, height) = try wantedSize() {
      size = SizeU(width: UInt32(width), height: UInt32(height))
    }
    return try camera.setFormat(width: Int(size.width), height: Int(size.height), pixelFormat)
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
    var screen = try openScreen(format, camera)
    var queue = try camera.makeQueue(capacity: buffers)
    var (heapName, isContiguous): (String, Bool?) = ("", nil)
    for index in 0..<UInt64(buffers) {
      let vmo = try source.heap.allocateVmo(
        size: format.byteCount, settings: source.settings, bufferCollectionID: collection,
        bufferIndex: index)
      (heapName, isContiguous) = (try vmo.servingHeap, try vmo.isContiguous)
      try screen?.prepare(vmo)
      try queue.enqueue(vmo)
    }
    let device = camera.device
    var report = CameraReport(
      device: device.path, driver: device.driver, card: device.card,
      format: "\(format.pixelFormat)", field: "\(format.field)", width: format.width,
      height: format.height,
      bytesPerLine: format.bytesPerLine, heap: heapName,
      contiguous: isContiguous, buffers: buffers,
      bufferBytes: format.byteCount.roundedUpToPages ?? format.byteCount)

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

  private func openScreen(
    _ format: VideoFormat, _ camera: borrowing CaptureDevice
  ) throws(HeapError) -> CameraScreen? {
    guard show else { return nil }
    return try CameraScreen(
      try DisplayChoice.device(screen), connector: connector, format, of: camera)
  }
}

extension SizeU {
  fileprivate init(_ format: VideoFormat) {
    self.init(width: UInt32(clamping: format.width), height: UInt32(clamping: format.height))
  }

  fileprivate var text: String { "\(width)x\(height)" }

  fileprivate func fits(in other: SizeU) -> Bool { width <= other.width && height <= other.height }
}

extension CaptureDevice {
  /// Those of the sizes that the camera can make, the largest first.
  fileprivate func sizes(of format: VideoFourCC, in modes: [SizeU]) -> [SizeU] {
    let offered = sizes(of: format)
    let common = modes.filter { mode in
      offered.contains {
        $0.isLargestOfRange
          ? mode.width <= $0.width && mode.height <= $0.height
          : mode.width == $0.width && mode.height == $0.height
      }
    }
    return Set(common).sorted { $0.width * $0.height > $1.width * $1.height }
  }
}

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
  fileprivate var firstTime: Int64?
  fileprivate var sequence: UInt32?

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
