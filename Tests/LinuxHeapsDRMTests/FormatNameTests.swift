import LinuxHeaps
import LinuxHeapsDRM
import Testing

@Suite struct FormatNameTests {
  @Test(arguments: ["XR24", "AR24", "XB24", "RG16", "RG24", "NV12", "YU12", "P010", "YUYV", "R8"])
  func `a format has libdrm's name`(_ name: String) throws {
    #expect(try #require(FourCC(name)).description == name)
  }

  @Test func `the number is that of drm_fourcc.h`() {
    #expect(FourCC.xr24.rawValue == 0x3432_5258)
    #expect(FourCC("R8")?.rawValue == 0x2020_3852)
  }

  @Test(arguments: ["", "XR245", "é", "A\n"])
  func `other text is no format`(_ text: String) {
    #expect(FourCC(text) == nil)
  }

  @Test(arguments: [
    (0, "LINEAR"), (0x00ff_ffff_ffff_ffff, "INVALID"), (0x0100_0000_0000_0001, "INTEL_X_TILED"),
    (0x5500_0000_0000_0001, "0x5500000000000001"),
  ])
  func `a modifier has libdrm's name, or its number`(_ number: UInt64, _ name: String) {
    #expect(FormatModifier(rawValue: number).description == name)
  }

  @Test(arguments: [(1, "AB24"), (101, "AR24"), (104, "NV12"), (109, "RG16"), (112, "R8")])
  func `sysmem's numbers have a format`(_ number: UInt32, _ name: String) throws {
    #expect(FourCC(PixelFormat(rawValue: number))?.description == name)
  }

  @Test func `a compressed picture has none`() {
    #expect(FourCC(PixelFormat(rawValue: 106)) == nil)
  }

  @Test(arguments: [
    ("XR24", "XR24"), ("BX24", "BX24"), ("RGB3", "BG24"), ("BGR3", "RG24"), ("RGBP", "RG16"),
    ("GREY", "R8"), ("NV12", "NV12"), ("NM12", "NV12"), ("YUYV", "YUYV"), ("422P", "YU16"),
  ])
  func `V4L2's number has the format of the same bytes`(_ v4l2: String, _ drm: String) throws {
    let number = try #require(FourCC(v4l2)).rawValue
    #expect(FourCC(v4l2: number)?.description == drm)
  }

  @Test(arguments: ["RG16", "BA12", "AYUV", "XYUV"])
  func `a number of other bytes in V4L2 has no format`(_ name: String) throws {
    #expect(FourCC(v4l2: try #require(FourCC(name)).rawValue) == nil)
  }
}
