internal import ArgumentParser
internal import HeapTestKit
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

struct Devices: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists the devices that take buffers: displays, cameras, converters.",
    discussion: """
      Of DRM devices the connectors, their modes, and the planes with formats and modifiers; of V4L2 devices the \
      formats, sizes, kinds of memory and the present format. With --try each is given buffers of each heap, \
      as the checks drm-import and camera-import of verify do.
      """)

  @Flag(name: .customLong("try"), help: "Find out whose buffers each device takes.")
  var tries = false

  @OptionGroup var choice: HeapChoice

  @OptionGroup var output: OutputChoice

  func validate() throws {
    if !tries && !choice.names.isEmpty { throw ValidationError("--heap is of use with --try only") }
  }

  func run() async throws {
    for name in choice.names { try MemorySource.expectDMABufs(of: name) }
    var report = DeviceReport()
    var hasFailed = false
    if tries { hasFailed = try await report.tryImports(of: choice.heapsUnderTest()) }
    if output.json { try showJSON(report, named: "devices") } else { report.show() }
    if hasFailed { throw ExitCode(.failure) }
  }
}

/// What `heapctl devices` tells.
private struct DeviceReport: Encodable {
  /// Whether a device took a heap's buffer.
  struct Import: Encodable {
    let heap: String
    let answer: String

    var line: String { "  buffers of \(heap.visible): \(answer.visible)" }
  }

  struct Format: Encodable {
    let format: String
    let modifiers: [String]
  }

  struct Connected: Encodable {
    let name: String
    let status: String
    let on: Bool
    let modes: [String]
    let preferredMode: String?
  }

  struct Layer: Encodable {
    let kind: String
    let formats: [Format]
  }

  struct DRM: Encodable {
    let path: String
    let driver: String?
    /// Why it could not be opened.
    let refusal: String?
    var connectors: [Connected] = []
    var planes: [Layer] = []
    var imports: [Import] = []

    init(_ node: DRMNode) {
      path = node.path.string
      driver = node.driver
      let device: DRMDevice
      do throws(HeapError) {
        device = try DRMDevice(path: path)
        refusal = nil
      } catch {
        refusal = error.words
        return
      }
      connectors = ((try? device.connectors()) ?? []).map { connector in
        Connected(
          name: connector.name, status: connector.status.rawValue, on: connector.isOn,
          modes: connector.modes.map { "\($0)" },
          preferredMode: connector.preferredMode.map { "\($0)" })
      }
      planes = device.planes().map { plane in
        Layer(
          kind: plane.kind.rawValue,
          formats: plane.formats.map { format in
            Format(
              format: "\(format)", modifiers: (plane.modifiers[format] ?? []).map { "\($0)" })
          })
      }
    }

    var lines: [String] {
      var lines = ["\(path) (\(driver ?? "?"))" + (refusal.map { ": \($0)" } ?? "")]
      for connector in connectors {
        lines.append(
          "  \(connector.name): \(connector.status)\(connector.on ? ", on" : "")"
            + (connector.preferredMode.map { "; prefers \($0)" } ?? ""))
        if !connector.modes.isEmpty {
          lines.append("    modes: \(connector.modes.joined(separator: " "))")
        }
      }
      for plane in planes {
        lines.append(
          "  \(plane.kind) plane: " + plane.formats.map(\.format).joined(separator: " "))
        let modifiers = Set(plane.formats.flatMap(\.modifiers)).sorted()
        if !modifiers.isEmpty { lines.append("    modifiers: \(modifiers.joined(separator: " "))") }
      }
      return lines + imports.map(\.line)
    }
  }

  struct Pixels: Encodable {
    let format: String
    let sizes: [String]
  }

  struct Video: Encodable {
    let path: String
    let card: String?
    let driver: String?
    let bus: String?
    let kind: String?
    let multiPlanar: Bool?
    /// Absent where the device does not say: it is in use, or its kernel or driver does not tell.
    let memory: [String]?
    /// What it is set to.
    let present: String?
    let interlaced: Bool?
    let formats: [Pixels]
    let refusal: String?
    var imports: [Import] = []

    init(_ path: String) {
      self.path = path
      var refusal: String?
      var device: VideoDevice?
      do throws(HeapError) { device = try VideoDevice(path) } catch { refusal = error.words }
      self.refusal = refusal
      card = device?.card
      driver = device?.driver
      bus = device?.bus
      kind = device?.kind.rawValue
      multiPlanar = device?.isMultiPlanar
      memory = device?.memory?.names
      present = device?.format?.description
      interlaced = device?.format?.field.isInterlaced
      formats = (device?.formats ?? []).map { format in
        Pixels(
          format: "\(format)", sizes: (device?.sizes[format] ?? []).map(\.description))
      }
    }

    var lines: [String] {
      guard let driver, let card, let bus, let kind else {
        return ["\(path): \(refusal ?? "?")"]
      }
      var lines = ["\(path) (\(driver)): \(kind), \(card), \(bus)"]
      if let present { lines.append("  set to \(present)") }
      if kind != VideoDevice.Kind.other.rawValue {
        lines.append("  memory: " + (memory.map { $0.joined(separator: " ") } ?? "not told"))
      }
      for one in formats { lines.append("  \(one.format): " + one.sizes.joined(separator: " ")) }
      return lines + imports.map(\.line)
    }
  }

  var drm = DRMNode.all().map(DRM.init)
  var video = VideoDevice.paths().map(Video.init)

  func show() {
    let lines = drm.flatMap(\.lines) + video.flatMap(\.lines)
    lines.forEach(heapctl.show)
    if lines.isEmpty {
      heapctl.tell(
        "there is no DRM or V4L2 device (/dev/dri, /dev/video*); heapctl doctor tells how to have a virtual one"
      )
    }
  }

  /// Tells of each trial without answers why it has none.
  ///
  /// - Returns: Whether one failed.
  mutating func tryImports(of heaps: [HeapUnderTest]) async -> Bool {
    var hasFailed = false
    let checks = HeapCheck.all.filter { ["drm-import", "camera-import"].contains($0.name) }
    for heap in heaps where ![.memfd, .opaque].contains(heap.kind) {
      for check in checks {
        switch await check.run(on: heap) {
        case .passed(let answers):
          for answer in answers { note(answer, of: heap.name) }
        case .failed(let reason):
          hasFailed = true
          heapctl.tell("\(heap.name): \(reason)".visible)
        case .skipped(let reason):
          // Where none of its devices is listed, none is left without an answer.
          let isIdle = check.name == "drm-import" ? drm.isEmpty : video.isEmpty
          if !isIdle { heapctl.tell("\(heap.name): \(reason)".visible) }
        }
      }
    }
    return hasFailed
  }

  private mutating func note(_ answer: DeviceAnswer, of heap: String) {
    func add(_ path: String, _ imports: inout [Import]) {
      if answer.device.hasPrefix("\(path) ") {
        imports.append(Import(heap: heap, answer: answer.answer))
      }
    }
    for index in drm.indices { add(drm[index].path, &drm[index].imports) }
    for index in video.indices { add(video[index].path, &video[index].imports) }
  }
}
