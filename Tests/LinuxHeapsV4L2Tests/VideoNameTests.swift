import LinuxHeaps
import Testing

@testable import LinuxHeapsV4L2

@Suite struct VideoNameTests {
  @Test func `a format is four characters`() {
    #expect(VideoFourCC("XR24") == .xr24)
    #expect(VideoFourCC.xr24.rawValue == 0x3432_5258)
    #expect("\(VideoFourCC.grey)" == "GREY")
    #expect(VideoFourCC("Y16").map { "\($0)" } == "Y16")
    #expect(VideoFourCC(rawValue: 0xB631_3659).description == "Y616-BE")
    #expect(VideoFourCC("") == nil)
    #expect(VideoFourCC("XR245") == nil)
    #expect(VideoFourCC("ÄR2") == nil)
  }

  /// `enum v4l2_field` of linux/videodev2.h.
  @Test(
    arguments: zip(
      0..<10 as Range<UInt32>,
      [
        "progressive", "progressive", "top", "bottom", "interlaced", "sequential", "sequential",
        "alternate", "interlaced", "interlaced",
      ]))
  func `a format tells how its lines come`(_ number: UInt32, _ name: String) {
    let field = VideoField(rawValue: number)
    #expect("\(field)" == name)
    #expect(field.isInterlaced == (number > 1))
    var format = VideoFormat(
      width: 720, height: 576, pixelFormat: .yuyv, bytesPerLine: 1440, byteCount: 829_440,
      buffersPerFrame: 1)
    #expect("\(format)" == "720x576 YUYV")
    format.field = field
    #expect("\(format)" == "720x576 YUYV" + (number > 1 ? " \(name)" : ""))
  }

  @Test func `what a device says of itself moves no terminal`() {
    #expect(text(SIMD8<UInt8>(0x43, 0x1B, 0x5B, 0x41, 0x0A, 0, 0x42, 0x42)) == "C\\u{1B}[A\\u{A}")
  }

  @Test(arguments: [("/dev/null", HeapError.Code.wrongType), ("/dev/video-none", .notFound)])
  func `what is no camera is refused`(_ path: String, _ code: HeapError.Code) {
    do throws(HeapError) {
      _ = try CaptureDevice(path)
      Issue.record("\(path) was opened")
    } catch {
      #expect(error.code == code)
      #expect(error.fix != nil)
    }
  }
}
