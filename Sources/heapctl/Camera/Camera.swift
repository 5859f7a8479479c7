internal import ArgumentParser
internal import Glibc
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

struct Camera: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Takes frames of a camera straight into heap buffers, and shows or saves them.",
    discussion: """
      The camera writes into the buffers (V4L2 DMABUF); with --show the display's driver scans the same \
      buffers out, and a buffer goes back to the camera when a fence tells that it is off the screen. \
      Ends in order after SIGINT, SIGTERM or SIGHUP too.
      """)

  @Option(help: ArgumentHelp("The camera, a /dev/videoN.", valueName: "device"))
  var device: String

  @Option(help: ArgumentHelp("How many frames.", valueName: "count"))
  var frames = 30

  @Option(
    help: ArgumentHelp(
      "A heap by its whole name, or udmabuf; else system, and contiguous where the camera needs it.",
      valueName: "name"))
  var heap: String?

  @Flag(help: "Physically contiguous memory, never replaced by other.")
  var contiguous = false

  @Option(help: ArgumentHelp("E.g. 1280x720; else what the camera is set to.", valueName: "size"))
  var size: String?

  @Option(
    help: ArgumentHelp(
      "Four letters of V4L2, e.g. XR24; else what the camera is set to.", valueName: "format"))
  var format: String?

  @Option(help: ArgumentHelp("How many buffers go round.", valueName: "count"))
  var buffers = 4

  @Option(help: ArgumentHelp("Write the last frame to this PNG file.", valueName: "file"))
  var save: String?

  @Flag(help: "Show the frames on a screen, without copying them.")
  var show = false

  @Option(
    help: ArgumentHelp(
      "With --show: a node of /dev/dri, or a driver's name; else the first with a display.",
      valueName: "device"))
  var screen: String?

  @Option(
    help: ArgumentHelp(
      "With --show: e.g. HDMI-A-1; else the first with a display.", valueName: "name"))
  var connector: String?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  func validate() throws {
    if frames < 1 { throw ValidationError("--frames is at least 1") }
    // One with the camera, one coming, one on the screen.
    guard (3...32).contains(buffers) else { throw ValidationError("--buffers is 3 to 32") }
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
    let end = try EndSignal()
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
        if json {
          try JSONReport(body: report, name: "camera").show()
        } else {
          for line in report.lines { heapctl.show(line) }
        }
        return
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
    _ collection: UInt64, _ end: borrowing EndSignal, saving picture: OutputFile?
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
    _ collection: UInt64, _ end: borrowing EndSignal, saving picture: OutputFile?
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
    var report = CameraReport(
      camera.device, format, heap: heapName,
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
