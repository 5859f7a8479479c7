internal import ArgumentParser
internal import Glibc
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import SystemPackage

struct Show: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Puts a test pattern from a heap buffer on a screen, without copying it.",
    discussion: """
      The buffer is filled through a mapping, imported into the display's driver and scanned out. \
      What the screen showed before comes back at the end, also after SIGINT, SIGTERM or SIGHUP.
      """)

  @Option(
    help: ArgumentHelp(
      "A node of /dev/dri, or a driver's name; else the first with a display.", valueName: "device")
  )
  var device: String?

  @Option(help: ArgumentHelp("E.g. HDMI-A-1; else the first with a display.", valueName: "name"))
  var connector: String?

  @Option(help: ArgumentHelp("E.g. 1280x720; else what the display asks for.", valueName: "mode"))
  var mode: String?

  @Option(
    help: ArgumentHelp(
      "A heap by its whole name, or udmabuf; else system, and contiguous where the driver needs it.",
      valueName: "name"))
  var heap: String?

  @Option(
    help: ArgumentHelp("Four letters of drm_fourcc.h, e.g. XR24, NV12.", valueName: "format"))
  var format = "XR24"

  @Option(help: "What is shown: \(TestPattern.allCases.map(\.rawValue).joined(separator: " or ")).")
  var pattern = TestPattern.bars

  @Option(
    help: ArgumentHelp("A picture in place of the pattern: a PPM file (P6).", valueName: "file"))
  var image: String?

  @Option(help: ArgumentHelp("End after that time.", valueName: "seconds"))
  var seconds: UInt32?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws { _ = try fourCC() }

  private func fourCC() throws -> FourCC {
    guard let format = FourCC(format) else {
      throw ValidationError("--format takes at most four letters, e.g. XR24, not '\(format)'")
    }
    return format
  }

  func run() async throws { try await reporting { try await display() } }

  private func display() async throws {
    // Before the screen changes: a signal from here on ends in order.
    let end = try EndSignal()
    let picture: any Picture = try image.map { try PixelMap(path: $0) } ?? pattern
    let device = try DisplayChoice.device(device)
    let connector = try DisplayChoice.connector(connector, of: device)
    let mode = try DisplayChoice.mode(mode, of: connector, device)
    var scanout = try Scanout(device, connector: connector, mode: mode)
    let image = try ImageChoice(try fourCC(), for: scanout, of: device)

    var sources = try MemorySource.candidates(named: heap)[...]
    while let source = sources.popFirst() {
      // A number of its own for each: the one that was refused may not be reclaimed yet.
      let key = BufferKey(
        bufferCollectionID: UInt64(getpid()), bufferIndex: UInt64(sources.startIndex))
      let vmo = try source.heap.allocateVmo(
        size: image.layout.byteCount, settings: source.settings,
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex)
      do {
        try image.paint(picture, into: vmo)
        let framebuffer = try device.framebuffer(
          of: vmo, image.layout, modifier: image.saidModifier)
        try scanout.show(framebuffer)
        try report(ShowReport(device, scanout, image, vmo))
      } catch let error as HeapError where error.mayBeForItsMemory && !sources.isEmpty {
        tell("\(error)\ntrying contiguous memory")
        continue
      }
      let howLong = seconds.map { "for \($0) s" } ?? "until SIGINT or SIGTERM"
      tell("shown by process \(getpid()) \(howLong)")
      end.wait(for: seconds.map { .seconds($0) })
      _ = consume scanout
      try await source.heap.deleteVmo(
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
      tell("the screen is as before; the buffer is given back and reclaimed")
      return
    }
  }

  private func report(_ report: ShowReport) throws {
    if json { try JSONReport(body: report, name: "show").show() } else { show(report.text) }
  }
}

extension TestPattern: ExpressibleByArgument {}

extension HeapError {
  /// What drivers answer to memory that is not contiguous, among others.
  fileprivate var mayBeForItsMemory: Bool {
    [.invalidArgument, .badAddress, .notSupported, .noSpace].contains(errno)
  }
}
