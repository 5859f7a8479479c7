import LinuxHeaps
import LinuxHeapsDRM
import Testing

@Suite struct PainterTests {
  /// White is the first of the bars, blue the seventh, black the last.
  @Test(arguments: [
    ("XR24", [255, 255, 255, 255], [255, 0, 0, 255]),
    ("AB24", [255, 255, 255, 255], [0, 0, 255, 255]),
    ("RX24", [255, 255, 255, 255], [255, 255, 0, 0]),
    ("RG24", [255, 255, 255], [255, 0, 0]),
    ("RG16", [255, 255], [0x1f, 0]),
    ("BG16", [255, 255], [0, 0xf8]),
    ("XR30", [255, 255, 255, 255], [0xff, 0x03, 0x00, 0xc0]),
    ("R8", [255], [28]),
    ("NV12", [235], [41]),
    ("P010", [0, 235], [0, 41]),
  ])
  func `a pixel has the format's bytes`(_ name: String, _ white: [UInt8], _ blue: [UInt8]) throws {
    let format = try #require(FourCC(name))
    let bytes = try paint(.bars, ImageLayout(format, size: SizeU(width: 16, height: 4)))
    let count = white.count
    #expect(Array(bytes[..<count]) == white)
    #expect(Array(bytes[12 * count..<13 * count]) == blue)
  }

  @Test func `YUV colours are those of BT 601`() throws {
    let size = SizeU(width: 16, height: 4)
    let nv12 = try paint(.bars, ImageLayout(.nv12, size: size))
    // Red: the sixth bar, pixels 10 and 11.
    #expect(nv12[10] == 82)
    #expect(Array(nv12[64 + 10...64 + 11]) == [90, 240])
    let yuyv = try paint(.bars, ImageLayout(.yuyv, size: size))
    #expect(Array(yuyv[20..<24]) == [82, 90, 82, 240])
    let planar = try paint(.bars, ImageLayout(try #require(FourCC("YV12")), size: size))
    // Cr comes first.
    #expect([planar[64 + 5], planar[64 + 16 + 5]] == [240, 90])
  }

  @Test(arguments: TestPattern.allCases)
  func `each pixel of every row is the pattern's`(_ pattern: TestPattern) throws {
    let size = SizeU(width: 33, height: 19)
    let layout = try ImageLayout(.xb24, size: size, bytesPerRow: 140)
    let bytes = try paint(pattern, layout)
    for y in 0..<19 {
      for x in 0..<33 {
        let color = pattern.color(x: x, y: y, width: 33, height: 19)
        let place = y * 140 + x * 4
        #expect(Array(bytes[place..<place + 3]) == [color.red, color.green, color.blue])
      }
      // What lies between the rows is left alone.
      #expect(bytes[y * 140 + 132..<(y + 1) * 140].allSatisfy { $0 == 0x5a })
    }
  }

  @Test(arguments: Painter.formats)
  func `an odd size is filled to its last byte`(_ format: FourCC) throws {
    let layout = try ImageLayout(format, size: SizeU(width: 5, height: 3))
    #expect(try paint(.gradient, layout, on: 0x5a) == paint(.gradient, layout, on: 0xa5))
  }

  private func paint(
    _ pattern: TestPattern, _ layout: ImageLayout, on filling: UInt8 = 0x5a
  ) throws -> [UInt8] {
    let painter = try #require(Painter(layout))
    var bytes = [UInt8](repeating: filling, count: Int(layout.byteCount))
    var span = bytes.mutableSpan
    var raw = unsafe span.mutableBytes
    painter.paint(pattern, into: &raw)
    return bytes
  }
}
