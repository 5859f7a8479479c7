internal import LinuxHeaps
internal import LinuxHeapsDRM

/// The image to be made: as large as the mode, in a format that the screen takes.
struct ImageChoice {
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
        cause: "\(device.driver) does not show this format",
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
