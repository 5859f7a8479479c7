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
