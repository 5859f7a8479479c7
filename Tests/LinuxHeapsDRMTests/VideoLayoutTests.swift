import LinuxHeaps
import LinuxHeapsDRM
import Testing

@Suite(.enabled(if: !VideoDevice.all.isEmpty, "needs a V4L2 capture device, e.g. vivid"))
struct VideoLayoutTests {
  @Test(arguments: [
    "YUYV", "UYVY", "YVYU", "VYUY", "NV12", "NV21", "NV16", "NV61", "NV24", "YU12", "YV12", "422P",
    "GREY", "RGBP", "RGB3", "BGR3", "XR24", "AR24", "BX24", "XB24",
  ])
  func `rows and size are those of V4L2's drivers`(_ name: String) throws {
    let number = try #require(FourCC(name)).rawValue
    for device in VideoDevice.all {
      for asked in [SizeU(width: 640, height: 360), SizeU(width: 1280, height: 720)] {
        guard let image = device.image(of: number, asked) else { continue }
        let layout = try ImageLayout(FourCC(v4l2: number), size: image.size)
        #expect(layout.planes[0].bytesPerRow == image.bytesPerRow, "\(device.path)")
        #expect(layout.byteCount == image.byteCount, "\(device.path)")
      }
    }
  }

  @Test func `some driver was asked about planes`() throws {
    let nv12 = FourCC.nv12.rawValue
    #expect(
      VideoDevice.all.contains { $0.image(of: nv12, SizeU(width: 640, height: 360)) != nil })
  }
}
