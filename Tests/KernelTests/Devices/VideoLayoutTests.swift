import LinuxHeaps
import LinuxHeapsDRM
import LinuxHeapsV4L2
import Testing

@Suite(.serialized) struct VideoLayoutTests {
  private static let cameras = VideoDevice.all().filter {
    $0.driver == "vivid" && $0.kind == .capture
  }

  @Test(
    .enabled(if: !cameras.isEmpty, "needs vivid"),
    arguments: [
      "YUYV", "UYVY", "YVYU", "VYUY", "NV12", "NV21", "NV16", "NV61", "NV24", "YU12", "YV12",
      "422P", "GREY", "RGBP", "RGB3", "BGR3", "XR24", "AR24", "BX24", "XB24",
    ])
  func `rows and size are those of V4L2's drivers`(_ name: String) throws {
    let format = try #require(VideoFourCC(name))
    let able = Self.cameras.filter { $0.formats.contains(format) }
    #expect(!able.isEmpty, "no camera was asked")
    for camera in able {
      let device = try CaptureDevice(camera.path)
      for (width, height) in [(640, 360), (1280, 720)] {
        let image = try device.tryFormat(width: width, height: height, format)
        let layout = try ImageLayout(
          try #require(FourCC(v4l2: format.rawValue)),
          size: SizeU(width: UInt32(width), height: UInt32(height)))
        #expect(Int(layout.planes[0].bytesPerRow) == image.bytesPerLine, "\(camera.path)")
        #expect(layout.byteCount == image.byteCount, "\(camera.path)")
      }
    }
  }
}
