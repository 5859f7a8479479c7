import LinuxHeaps
import LinuxHeapsDRM
import Testing

/// A format, a size, and what it takes: each plane's offset, row and rows, and the sum.
struct LayoutExample: CustomTestStringConvertible, Sendable {
  let format: String
  let size: SizeU
  let planes: [[UInt64]]
  let byteCount: UInt64
  var testDescription: String { "\(format) \(size.width)x\(size.height)" }

  init(_ format: String, _ width: UInt32, _ height: UInt32, _ planes: [[UInt64]], _ sum: UInt64) {
    self.format = format
    size = SizeU(width: width, height: height)
    self.planes = planes
    byteCount = sum
  }

  /// By hand, from the formats' description in drm_fourcc.h.
  static let all = [
    LayoutExample("XR24", 640, 480, [[0, 2560, 480]], 1_228_800),
    LayoutExample("AR24", 1, 1, [[0, 4, 1]], 4),
    LayoutExample("XB24", 3, 2, [[0, 12, 2]], 24),
    LayoutExample("AB24", 1920, 1080, [[0, 7680, 1080]], 8_294_400),
    LayoutExample("RG16", 5, 3, [[0, 10, 3]], 30),
    LayoutExample("RG24", 5, 3, [[0, 15, 3]], 45),
    LayoutExample("BG24", 640, 480, [[0, 1920, 480]], 921_600),
    LayoutExample("XR30", 2, 2, [[0, 8, 2]], 16),
    LayoutExample("R8", 7, 3, [[0, 7, 3]], 21),
    LayoutExample("GREY", 7, 3, [[0, 7, 3]], 21),
    LayoutExample("NV12", 640, 480, [[0, 640, 480], [307_200, 640, 240]], 460_800),
    LayoutExample("NV21", 640, 480, [[0, 640, 480], [307_200, 640, 240]], 460_800),
    LayoutExample("NV12", 5, 3, [[0, 6, 3], [18, 6, 2]], 30),
    LayoutExample("NV16", 640, 480, [[0, 640, 480], [307_200, 640, 480]], 614_400),
    LayoutExample("NV24", 5, 3, [[0, 5, 3], [15, 10, 3]], 45),
    LayoutExample("P010", 640, 480, [[0, 1280, 480], [614_400, 1280, 240]], 921_600),
    LayoutExample("P010", 5, 3, [[0, 12, 3], [36, 12, 2]], 60),
    LayoutExample(
      "YU12", 640, 480, [[0, 640, 480], [307_200, 320, 240], [384_000, 320, 240]], 460_800),
    LayoutExample("YV12", 5, 3, [[0, 6, 3], [18, 3, 2], [24, 3, 2]], 30),
    LayoutExample("YU16", 4, 2, [[0, 4, 2], [8, 2, 2], [12, 2, 2]], 16),
    LayoutExample("YU24", 3, 2, [[0, 3, 2], [6, 3, 2], [12, 3, 2]], 18),
    LayoutExample("YUYV", 640, 480, [[0, 1280, 480]], 614_400),
    LayoutExample("YUYV", 5, 3, [[0, 12, 3]], 36),
    LayoutExample("UYVY", 2, 1, [[0, 4, 1]], 4),
  ]
}

@Suite struct ImageLayoutTests {
  static let size = SizeU(width: 100, height: 50)

  @Test(arguments: LayoutExample.all)
  func `planes follow each other`(_ example: LayoutExample) throws {
    let format = try #require(FourCC(example.format))
    let layout = try ImageLayout(format, size: example.size)
    #expect(layout.numbers == example.planes)
    #expect(layout.byteCount == example.byteCount)
    #expect(layout.codedSize == example.size)
  }

  @Test func `a row is a multiple of its divisor, and of the format's own`() throws {
    var constraints = ImageFormatConstraints()
    constraints.bytesPerRowDivisor = 64
    #expect(try row(.xr24, constraints) == [448])
    #expect(try row(.nv12, constraints) == [128, 128])
    #expect(try row("YU12", constraints) == [128, 64, 64])
    // The later planes have half a row: the first one's is even.
    constraints.bytesPerRowDivisor = 5
    #expect(try row("YU12", constraints) == [100, 50, 50])
    constraints.bytesPerRowDivisor = 7
    #expect(try row("YU12", constraints) == [112, 56, 56])
    constraints.bytesPerRowDivisor = 16
    #expect(try row(.rg24, constraints) == [304])
    constraints.requireBytesPerRowAtPixelBoundary = true
    #expect(try row(.rg24, constraints) == [336])
  }

  @Test func `a row is as long as asked at least`() throws {
    var constraints = ImageFormatConstraints()
    constraints.minBytesPerRow = 500
    #expect(try row(.xr24, constraints) == [500])
    constraints.bytesPerRowDivisor = 32
    #expect(try row(.xr24, constraints) == [512])
    constraints.maxBytesPerRow = 511
    #expect(throws: ImageLayoutError.rowTooLong(512, atMost: 511)) {
      try row(.xr24, constraints)
    }
  }

  @Test func `an exact row is kept or refused`() throws {
    func layout(_ row: UInt32) throws -> ImageLayout {
      try ImageLayout(.nv12, size: Self.size, bytesPerRow: row)
    }
    #expect(try layout(104).numbers == [[0, 104, 50], [5200, 104, 25]])
    #expect(throws: ImageLayoutError.rowTooLong(100, atMost: 99)) { try layout(99) }
    #expect(throws: ImageLayoutError.rowNotAligned(103, to: 2)) {
      try ImageLayout(try #require(FourCC("YU12")), size: Self.size, bytesPerRow: 103)
    }
    var constraints = ImageFormatConstraints()
    constraints.minBytesPerRow = 108
    #expect(throws: ImageLayoutError.rowTooLong(108, atMost: 104)) {
      try ImageLayout(.nv12, size: Self.size, constraints: constraints, bytesPerRow: 104)
    }
  }

  @Test func `the coded size is aligned and has its least and its most`() throws {
    var constraints = ImageFormatConstraints()
    constraints.sizeAlignment = SizeU(width: 16, height: 16)
    let aligned = try ImageLayout(.nv12, size: Self.size, constraints: constraints)
    #expect(aligned.codedSize == SizeU(width: 112, height: 64))
    #expect(aligned.size == Self.size)
    #expect(aligned.numbers == [[0, 112, 64], [7168, 112, 32]])
    constraints.minSize = SizeU(width: 120, height: 10)
    #expect(
      try ImageLayout(.nv12, size: Self.size, constraints: constraints).codedSize
        == SizeU(width: 128, height: 64))
    constraints.maxWidthTimesHeight = 8191
    #expect(throws: ImageLayoutError.tooManyPixels(8192, atMost: 8191)) {
      try row(.nv12, constraints)
    }
    constraints.maxSize = SizeU(width: 127, height: 64)
    #expect(
      throws: ImageLayoutError.tooLarge(
        SizeU(width: 128, height: 64), atMost: SizeU(width: 127, height: 64))
    ) { try row(.nv12, constraints) }
  }

  @Test func `blocks and spare bytes stand behind the image`() throws {
    var constraints = ImageFormatConstraints()
    constraints.padForBlockSize = SizeU(width: 64, height: 64)
    constraints.padBeyondImageSizeBytes = 7
    let layout = try ImageLayout(.nv12, size: Self.size, constraints: constraints)
    #expect(layout.numbers == [[0, 128, 50], [6400, 128, 25]])
    #expect(layout.byteCount == 128 * 64 * 3 / 2 + 7)
  }

  @Test func `the constraints' own format is taken`() throws {
    var constraints = ImageFormatConstraints()
    #expect(throws: ImageLayoutError.noFormat) {
      try ImageLayout(size: Self.size, constraints: constraints)
    }
    // fuchsia.images2: 104 is NV12, 106 MJPEG.
    constraints.pixelFormat = PixelFormat(rawValue: 104)
    #expect(try ImageLayout(size: Self.size, constraints: constraints).format == .nv12)
    #expect(throws: ImageLayoutError.formatNotAllowed(.xr24)) { try row(.xr24, constraints) }
    constraints.pixelFormat = PixelFormat(rawValue: 106)
    #expect(throws: ImageLayoutError.noFormat) {
      try ImageLayout(size: Self.size, constraints: constraints)
    }
  }

  @Test func `only linear images have a layout`() {
    var constraints = ImageFormatConstraints()
    constraints.pixelFormatModifier = PixelFormatModifier(rawValue: 1)
    #expect(throws: ImageLayoutError.notLinear(FormatModifier(rawValue: 1))) {
      try row(.xr24, constraints)
    }
    constraints.pixelFormatModifier = nil
    let nv12 = PixelFormat(rawValue: 104)
    let tiled = PixelFormatAndModifier(
      pixelFormat: nv12, pixelFormatModifier: PixelFormatModifier(rawValue: 2))
    constraints.pixelFormatAndModifiers = [tiled]
    #expect(throws: ImageLayoutError.notLinear(FormatModifier(rawValue: 2))) {
      try row(.nv12, constraints)
    }
    constraints.pixelFormatAndModifiers?.append(
      PixelFormatAndModifier(
        pixelFormat: nv12, pixelFormatModifier: PixelFormatModifier(rawValue: 0)))
    #expect(throws: Never.self) { try row(.nv12, constraints) }
  }

  @Test func `nothing is laid out of nothing`() throws {
    #expect(throws: ImageLayoutError.empty(SizeU(width: 0, height: 1))) {
      try ImageLayout(.xr24, size: SizeU(width: 0, height: 1))
    }
    let unknown = try #require(FourCC("ZZZZ"))
    #expect(throws: ImageLayoutError.unknownFormat(unknown)) {
      try ImageLayout(unknown, size: Self.size)
    }
    for path in [\ImageFormatConstraints.sizeAlignment, \.padForBlockSize] {
      var constraints = ImageFormatConstraints()
      constraints[keyPath: path] = SizeU(width: 1, height: 0)
      #expect(throws: ImageLayoutError.zeroAlignment) { try row(.xr24, constraints) }
    }
    var constraints = ImageFormatConstraints()
    constraints.bytesPerRowDivisor = 0
    #expect(throws: ImageLayoutError.zeroAlignment) { try row(.xr24, constraints) }
  }

  @Test func `no number overflows`() throws {
    let most = SizeU(width: .max, height: .max)
    #expect(throws: ImageLayoutError.overflow) { try ImageLayout(.xr24, size: most) }
    let grey = try ImageLayout(try #require(FourCC("R8")), size: most)
    #expect(grey.byteCount == 0xffff_fffe_0000_0001)
    // A second plane of half the size has no room in 64 bits.
    #expect(throws: ImageLayoutError.overflow) {
      try ImageLayout(.nv12, size: SizeU(width: .max - 1, height: .max))
    }
    var constraints = ImageFormatConstraints()
    constraints.padBeyondImageSizeBytes = .max
    #expect(throws: ImageLayoutError.overflow) { try row(.xr24, constraints) }
    constraints = ImageFormatConstraints()
    constraints.bytesPerRowDivisor = .max
    #expect(throws: ImageLayoutError.overflow) { try row("YU12", constraints) }
    constraints = ImageFormatConstraints()
    constraints.sizeAlignment = SizeU(width: 1 << 31, height: 1)
    #expect(throws: ImageLayoutError.overflow) {
      try ImageLayout(.xr24, size: SizeU(width: .max, height: 1), constraints: constraints)
    }
  }

  private func row(
    _ format: FourCC, _ constraints: ImageFormatConstraints
  ) throws -> [UInt32] {
    try ImageLayout(format, size: Self.size, constraints: constraints).planes.map(\.bytesPerRow)
  }

  private func row(_ format: String, _ constraints: ImageFormatConstraints) throws -> [UInt32] {
    try row(try #require(FourCC(format)), constraints)
  }
}

extension ImageLayout {
  /// Offset, row and rows of each plane.
  var numbers: [[UInt64]] {
    planes.map { [$0.offset, UInt64($0.bytesPerRow), UInt64($0.rows)] }
  }
}
