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
}
