import Testing

@testable import HeapTestKit
@testable import LinuxHeapsV4L2

@Suite struct CameraTrialTests {
  @Test func `a size of several MiB is tried, and of a range not the largest`() throws {
    func size(_ offered: (width: Int, height: Int, isRange: Bool)...) -> [Int]? {
      CameraTrial.size(
        of: offered.map {
          FrameSize(width: $0.width, height: $0.height, isLargestOfRange: $0.isRange)
        }
      ).map { [$0.width, $0.height] }
    }
    #expect(size() == nil)
    #expect(size((320, 240, false), (640, 480, false)) == [640, 480])
    #expect(size((1920, 1080, false), (640, 480, false), (1280, 720, false)) == [1280, 720])
    #expect(size((16_384, 16_384, true)) == [1280, 720])
    #expect(size((800, 600, true)) == [800, 600])
  }

  @Test(arguments: [
    ("XR24", 2560, 1_228_800, true), ("XR24", 2560, 1_232_896, false),
    ("NV12", 640, 460_800, true), ("MJPG", 0, 614_400, false), ("RG16", 1280, 614_400, false),
  ])
  func `only a picture of known layout fills its buffer`(
    _ name: String, _ bytesPerLine: Int, _ byteCount: UInt64, _ isFilled: Bool
  ) throws {
    let format = VideoFormat(
      width: 640, height: 480, pixelFormat: try #require(VideoFourCC(name)),
      bytesPerLine: bytesPerLine, byteCount: byteCount, buffersPerFrame: 1)
    #expect(CameraTrial.fillsBuffer(format) == isFilled)
  }
}
