internal import ArgumentParser
internal import CLibrary
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import SystemPackage

struct Show: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows a test pattern from a heap buffer on a display, without a copy.",
    discussion: """
      The buffer is filled through a mapping, imported into the display's driver and scanned out. \
      What the display showed before is restored on exit, also after SIGINT, SIGTERM or SIGHUP.
      """)

  @Option(
    help: ArgumentHelp(
      "A node of /dev/dri or a driver's name; by default the first with a display.",
      valueName: "device"), completion: .displays)
  var device: String?

  @Option(
    help: ArgumentHelp("E.g. HDMI-A-1; by default the first with a display.", valueName: "name"))
  var connector: String?

  @Option(
    help: ArgumentHelp("E.g. 1280x720; by default the display's preferred mode.", valueName: "mode")
  )
  var mode: String?

  @Option(
    help: ArgumentHelp(
      "A heap by its whole name, or udmabuf; by default system, or contiguous where the driver requires it.",
      valueName: "name"), completion: .heaps)
  var heap: String?

  @Option(
    help: ArgumentHelp("A fourcc of drm_fourcc.h, e.g. XR24 or NV12.", valueName: "format"))
  var format = "XR24"

  @Option(help: "What is shown: \(TestPattern.allCases.map(\.rawValue).joined(separator: " or ")).")
  var pattern = TestPattern.bars

  @Option(
    help: ArgumentHelp("A picture in place of the pattern: a PPM file (P6).", valueName: "file"),
    completion: .file())
  var image: String?

  @Option(
    parsing: .unconditional, help: ArgumentHelp("Exit after this time.", valueName: "seconds"))
  var seconds: UInt32?

  @OptionGroup var output: OutputChoice

  func validate() throws { _ = try fourCC() }

  private func fourCC() throws -> FourCC {
    guard let format = FourCC(format) else {
      throw ValidationError("--format takes at most four letters, e.g. XR24, not '\(format)'")
    }
    return format
  }

  func run() async throws {
    // Before the screen changes: a signal from here on ends in order.
    let end = try SignalPipe()
    let picture: any Picture = try image.map { try PixelMap(path: $0) } ?? pattern
    let device = try DisplayChoice.device(device)
    let connector = try DisplayChoice.connector(connector, of: device)
    let mode = try DisplayChoice.mode(mode, of: connector, device)
    var scanout = try Scanout(device, connector: connector, mode: mode)
    let image = try ImageChoice(try fourCC(), for: scanout, of: device)

    var sources = try MemorySource.candidates(named: heap)[...]
    while let source = sources.popFirst() {
      // A number of its own for each: the one that was refused may not be reclaimed yet.
      let (collection, index) = (UInt64(getpid()), UInt64(sources.startIndex - 1))
      let vmo = try source.heap.allocateVmo(
        size: image.layout.byteCount, settings: source.settings, bufferCollectionID: collection,
        bufferIndex: index)
      do {
        try image.paint(picture, into: vmo)
        let framebuffer = try device.framebuffer(
          of: vmo, image.layout, modifier: image.saidModifier)
        try scanout.show(framebuffer)
        let layout = image.layout
        let report = ShowReport(
          device: device.path, driver: device.driver, connector: scanout.connector.name,
          mode: "\(scanout.mode)", atomic: scanout.isAtomic, format: "\(layout.format)",
          modifier: "\(image.modifier)", width: layout.size.width, height: layout.size.height,
          planes: layout.planes.map {
            ShowReport.Plane(offset: $0.offset, bytesPerRow: $0.bytesPerRow, rows: $0.rows)
          },
          heap: vmo.heapName ?? "", kind: vmo.kind.rawValue, sizeBytes: vmo.byteCount,
          name: try vmo.name)
        if output.json { try showJSON(report, named: "show") } else { show(report.text) }
      } catch let error as HeapError where error.mayBeForItsMemory && !sources.isEmpty {
        tell("\(error)\ntrying contiguous memory")
        continue
      }
      let howLong = seconds.map { "for \($0) s" } ?? "until SIGINT or SIGTERM"
      tell("shown by process \(getpid()) \(howLong)")
      end.wait(for: seconds.map { .seconds($0) })
      _ = consume scanout
      try await source.heap.deleteVmo(
        bufferCollectionID: collection, bufferIndex: index, vmo: vmo)
      tell("the screen is as before; the buffer is given back and reclaimed")
      return
    }
  }
}

extension TestPattern: ExpressibleByArgument {}

extension HeapError {
  /// What drivers answer to memory that is not contiguous, among others.
  fileprivate var mayBeForItsMemory: Bool {
    [.invalidArgument, .badAddress, .notSupported, .noSpace].contains(errno)
  }
}

/// What is on the screen.
private struct ShowReport: Encodable {
  struct Plane: Encodable {
    let offset: UInt64
    let bytesPerRow: UInt32
    let rows: UInt32
  }

  let device: String
  let driver: String
  let connector: String
  let mode: String
  let atomic: Bool
  let format: String
  let modifier: String
  let width: UInt32
  let height: UInt32
  let planes: [Plane]
  let heap: String
  let kind: String
  let sizeBytes: UInt64
  let name: String?

  var text: String {
    let rows = planes.map { "\($0.rows) rows of \($0.bytesPerRow) bytes at \($0.offset)" }
    return """
      \(driver) (\(device)) shows on \(connector), mode \(mode):
        \(width)x\(height) \(format), modifier \(modifier): \(rows.joined(separator: ", "))
        from \(sizeBytes.asByteCount) of \(heap), a \(kind)\(name.map { ", name \($0)" } ?? ""): imported, not copied
      """
  }
}

/// The image to be made: as large as the mode, in a format that the screen takes.
private struct ImageChoice {
  let layout: ImageLayout
  let modifier = FormatModifier.linear
  /// Nil where the driver does not want to be told.
  let saidModifier: FormatModifier?
  private let painter: Painter

  init(
    _ format: FourCC, for scanout: borrowing Scanout, of device: borrowing DRMDevice
  ) throws(HeapError) {
    let size = scanout.mode.size
    let operation = "lay \(size.width)x\(size.height) \(format) out for \(scanout.connector.name)"
    let taken = scanout.formats
    guard taken.isEmpty || taken.contains(format) else {
      throw HeapError(
        .notSupported, operation, at: device.path,
        cause: "\(device.driver) does not display this format",
        fix: "use --format with one of: "
          + taken.filter(Painter.formats.contains).map { "\($0)" }.joined(separator: " "))
    }
    let modifiers = scanout.modifiers(of: format)
    guard modifiers.isEmpty || modifiers.contains(.linear) else {
      throw HeapError(
        .notSupported, operation, at: device.path,
        cause: "\(device.driver) shows this format with no linear rows, but with "
          + modifiers.map { "\($0)" }.joined(separator: " "), fix: "use another --format")
    }
    saidModifier = device.takesModifiers && !modifiers.isEmpty ? .linear : nil
    var constraints = ImageFormatConstraints()
    // What display engines fetch at once; the most that any driver in the kernel asks of linear rows
    // is 256 bytes (amdgpu), the usual is 64.
    constraints.bytesPerRowDivisor = 256
    do throws(ImageLayoutError) {
      layout = try ImageLayout(format, size: size, constraints: constraints)
    } catch {
      throw HeapError(.notSupported, operation, cause: "\(error)", fix: Self.fix)
    }
    guard let painter = Painter(layout) else {
      throw HeapError(
        .notSupported, operation, cause: "no picture can be painted in this format", fix: Self.fix)
    }
    self.painter = painter
  }

  private static let fix =
    "use --format with one of: " + Painter.formats.map { "\($0)" }.joined(separator: " ")

  /// Between the kernel's brackets for CPU access.
  func paint(_ picture: any Picture, into vmo: borrowing VMO) throws(HeapError) {
    let mapping = try vmo.map()
    var access = try mapping.writeAccess()
    var bytes = access.mutableBytes
    painter.paint(picture, into: &bytes)
    try access.end()
  }
}
