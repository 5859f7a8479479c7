import LinuxHeaps
import Testing

@Suite struct MonotonicTimeTests {
  @Test(arguments: [
    (Duration.seconds(-1), CInt(0)), (.zero, 0), (.seconds(Int64.max), CInt.max),
    (.milliseconds(Int64.max), CInt.max),
  ])
  func `no duration is too short or too long to wait for`(_ limit: Duration, _ milliseconds: CInt) {
    #expect(MonotonicTime.now.advanced(by: limit).millisecondsFromNow == milliseconds)
  }
}
