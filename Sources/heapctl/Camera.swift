internal import ArgumentParser
internal import CLibrary
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
    parsing: .unconditional,
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

  func run() async throws {
    let end = try SignalPipe()
    // The camera is set back by then.
    if try await stream(until: end).interrupted { end.obeyNext() }
  }

  private func stream(until end: SignalPipe) async throws -> CameraReport {
    let picture = try save.map { try OutputFile("save a frame", at: $0) }
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
    while true {
      let source = sources.removeFirst()
      collection += 1
      do {
        let report = try await stream(
          camera, format, source, collection, end, saving: picture)
        if output.json {
          try showJSON(report, named: "camera")
        } else {
          report.lines.forEach(heapctl.show)
        }
        return report
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
      (heapName, isContiguous) = (vmo.heapName ?? "", try vmo.isContiguous)
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
