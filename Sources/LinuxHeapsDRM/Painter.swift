internal import LinuxHeaps

/// Paints pictures into memory that is laid out for a format.
package struct Painter {
  private let layout: ImageLayout
  private let groups: PixelGroups
  private let encode: Encoder

  /// The bytes of one group of one plane, from the colours of the pixels that it stands for.
  private typealias Encoder = @Sendable (_ plane: Int, _ pixels: [RGB]) -> [UInt8]

  /// Nil for a format that cannot be painted.
  package init?(_ layout: ImageLayout) {
    guard let groups = PixelGroups(layout.format), let encode = Self.encoders[layout.format] else {
      return nil
    }
    self.layout = layout
    self.groups = groups
    self.encode = encode
  }

  package static var formats: [FourCC] {
    encoders.keys.sorted { $0.description < $1.description }
  }

  /// Fills every pixel; `bytes` must hold ``ImageLayout/byteCount``.
  package func paint(_ picture: some Picture, into bytes: inout MutableRawSpan) {
    for (index, plane) in layout.planes.enumerated() {
      let down = Int(groups.planes[index].down)
      var painted: (band: Int, row: [UInt8])?
      for number in 0..<Int(plane.rows) {
        let y = number * down
        let band = picture.band(y: y, height: Int(layout.size.height))
        let row = painted?.band == band ? painted?.row : nil
        let current = row ?? self.row(of: picture, plane: index, y: y)
        painted = (band, current)
        bytes.store(current, at: Int(plane.offset) + number * Int(plane.bytesPerRow))
      }
    }
  }

  /// The pixels that an odd width lacks in its last groups repeat the last one's colour.
  private func row(of picture: some Picture, plane: Int, y: Int) -> [UInt8] {
    let (width, height) = (Int(layout.size.width), Int(layout.size.height))
    let (across, most) = (Int(groups.planes[plane].across), Int(groups.across))
    var row: [UInt8] = []
    for x in stride(from: 0, to: (width + most - 1) / most * most, by: across) {
      let pixels = (x..<x + across).map {
        picture.color(x: min($0, width - 1), y: min(y, height - 1), width: width, height: height)
      }
      row += encode(plane, pixels)
    }
    return row
  }

  /// How a colour is written in each format.
  private static let encoders: [FourCC: Encoder] = {
    var table: [FourCC: Encoder] = [:]
    func add(_ names: String, _ encode: @escaping Encoder) {
      for name in names.split(separator: " ") {
        guard let format = FourCC(String(name)) else { preconditionFailure("\(name)") }
        table[format] = encode
      }
    }
    add("XR24 AR24") { [$1[0].blue, $1[0].green, $1[0].red, 255] }
    add("XB24 AB24") { [$1[0].red, $1[0].green, $1[0].blue, 255] }
    add("RX24 RA24") { [255, $1[0].blue, $1[0].green, $1[0].red] }
    add("BX24 BA24") { [255, $1[0].red, $1[0].green, $1[0].blue] }
    add("RG24") { [$1[0].blue, $1[0].green, $1[0].red] }
    add("BG24") { [$1[0].red, $1[0].green, $1[0].blue] }
    add("RG16") { $1[0].word(5, 6, 5, alpha: 0, redFirst: true).bytes(2) }
    add("BG16") { $1[0].word(5, 6, 5, alpha: 0, redFirst: false).bytes(2) }
    add("XR30 AR30") { $1[0].word(10, 10, 10, alpha: 2, redFirst: true).bytes(4) }
    add("XB30 AB30") { $1[0].word(10, 10, 10, alpha: 2, redFirst: false).bytes(4) }
    add("R8 GREY") { [$1[0].grey] }
    add("YUYV") { [$1[0].luma, $1[0].cb, $1[1].luma, $1[0].cr] }
    add("YVYU") { [$1[0].luma, $1[0].cr, $1[1].luma, $1[0].cb] }
    add("UYVY") { [$1[0].cb, $1[0].luma, $1[0].cr, $1[1].luma] }
    add("VYUY") { [$1[0].cr, $1[0].luma, $1[0].cb, $1[1].luma] }
    add("NV12 NV16 NV24") { $0 == 0 ? [$1[0].luma] : [$1[0].cb, $1[0].cr] }
    add("NV21 NV61 NV42") { $0 == 0 ? [$1[0].luma] : [$1[0].cr, $1[0].cb] }
    // The sample's bits are the upper ones of each 16.
    add("P010 P012 P016") {
      $0 == 0 ? [0, $1[0].luma] : [0, $1[0].cb, 0, $1[0].cr]
    }
    add("YU12 YU16 YU24") { [$0 == 0 ? $1[0].luma : $0 == 1 ? $1[0].cb : $1[0].cr] }
    add("YV12 YV16 YV24") { [$0 == 0 ? $1[0].luma : $0 == 1 ? $1[0].cr : $1[0].cb] }
    return table
  }()
}

extension MutableRawSpan {
  @_lifetime(self: copy self)
  fileprivate mutating func store(_ row: [UInt8], at offset: Int) {
    precondition(offset >= 0 && offset + row.count <= byteCount)
    unsafe withUnsafeMutableBytes { target in
      unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + row.count])
        .copyBytes(from: row)
    }
  }
}

/// A colour of 8 bits a channel.
package struct RGB: Hashable, Sendable {
  package var red: UInt8
  package var green: UInt8
  package var blue: UInt8

  package init(_ red: UInt8, _ green: UInt8, _ blue: UInt8) {
    (self.red, self.green, self.blue) = (red, green, blue)
  }
}

/// Something to see, of any size.
package protocol Picture: Sendable {
  /// The colour at a place of a picture of this size.
  func color(x: Int, y: Int, width: Int, height: Int) -> RGB

  /// A number that is the same for rows that look the same, so that they need painting once.
  func band(y: Int, height: Int) -> Int
}

/// Pictures that show at a glance what is wrong: colours exchanged, rows skewed, upside down.
package enum TestPattern: String, CaseIterable, Picture {
  /// Eight bars, from white to black, above a ramp of grey.
  case bars
  /// Red grows to the right, blue to the left, green downwards in sixteen steps.
  case gradient

  private static let colors = [
    RGB(255, 255, 255), RGB(255, 255, 0), RGB(0, 255, 255), RGB(0, 255, 0),
    RGB(255, 0, 255), RGB(255, 0, 0), RGB(0, 0, 255), RGB(0, 0, 0),
  ]

  package func color(x: Int, y: Int, width: Int, height: Int) -> RGB {
    let ramp = UInt8(width > 1 ? x * 255 / (width - 1) : 0)
    switch (self, band(y: y, height: height)) {
    case (.bars, 0): return Self.colors[x * 8 / width]
    case (.bars, _): return RGB(ramp, ramp, ramp)
    case (.gradient, let band): return RGB(ramp, UInt8(band * 17), 255 - ramp)
    }
  }

  package func band(y: Int, height: Int) -> Int {
    switch self {
    case .bars: y * 4 / height < 3 ? 0 : 1
    case .gradient: y * 16 / height
    }
  }
}

extension RGB {
  /// ITU-R BT.601, limited range, which most drivers assume for YUV.
  var luma: UInt8 { sample(66, 129, 25, plus: 16) }
  var cb: UInt8 { sample(-38, -74, 112, plus: 128) }
  var cr: UInt8 { sample(112, -94, -18, plus: 128) }
  /// The same weights in full range.
  var grey: UInt8 { UInt8((77 * Int(red) + 150 * Int(green) + 29 * Int(blue)) >> 8) }

  private func sample(_ r: Int, _ g: Int, _ b: Int, plus offset: Int) -> UInt8 {
    UInt8(clamping: (r * Int(red) + g * Int(green) + b * Int(blue) + 128) >> 8 + offset)
  }

  /// The channels in the bits of a word, from the top: alpha, all ones, then red or blue first.
  func word(_ first: Int, _ second: Int, _ third: Int, alpha: Int, redFirst: Bool) -> UInt32 {
    var word: UInt32 = (1 << UInt32(alpha)) - 1
    for (value, bits) in [
      (redFirst ? red : blue, first), (green, second), (redFirst ? blue : red, third),
    ] {
      // All ones stay all ones in more bits.
      word = word << UInt32(bits) | (UInt32(value) << 8 | UInt32(value)) >> UInt32(16 - bits)
    }
    return word
  }
}

extension UInt32 {
  fileprivate func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: self >> UInt32(8 * $0)) }
  }
}
