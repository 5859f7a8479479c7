/// How a colour is written in one of the formats.
struct PixelEncoder {
  /// The bytes of one group of one plane, from the colours of the pixels that it stands for.
  let encode: @Sendable (_ plane: Int, _ pixels: [RGB]) -> [UInt8]

  /// Nil for a format that no picture is painted in.
  init?(_ format: FourCC) {
    guard let encode = Self.table[format] else { return nil }
    self.encode = encode
  }

  static var formats: [FourCC] { table.keys.sorted { $0.description < $1.description } }

  private static let table: [FourCC: @Sendable (Int, [RGB]) -> [UInt8]] = {
    var table: [FourCC: @Sendable (Int, [RGB]) -> [UInt8]] = [:]
    func add(_ names: String, _ encode: @escaping @Sendable (Int, [RGB]) -> [UInt8]) {
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

extension RGB {
  /// ITU-R BT.601, limited range, which most drivers take YUV for where they are told nothing else.
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
