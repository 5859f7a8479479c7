import Testing

@testable import LinuxHeaps

@Suite struct BufferKeyTests {
  @Test(
    arguments: [
      (0, 0, "lh:0.0"), (0, .max, "lh:0.3w5e11264sgsf"), (.max, 0, "lh:3w5e11264sgsf.0"),
      (.max, .max, "lh:3w5e11264sgsf.3w5e11264sgsf"), (35, 36, "lh:z.10"), (1, 2, "lh:1.2"),
      // An index that does not fit 32 bits.
      (7, 1 << 32, "lh:7.1z141z4"),
    ] as [(UInt64, UInt64, String)])
  func `a name is written and read`(_ id: UInt64, _ index: UInt64, _ text: String) {
    let name = BufferKey(bufferCollectionID: id, bufferIndex: index)
    #expect(name.description == text)
    #expect(BufferKey(parsing: text) == name)
    #expect(text.utf8.count <= DMABuf.longestName)
  }

  @Test(arguments: [
    "", "lh", "lh:", "lh:.", "lh:1", "lh:1.", "lh:.1", "lh:1.2.", "lh:.1.2", "lh:1.2.3", "lh:1..2",
    "lh:+1.2", "lh:1.+2", "lh:-1.2", "lh:1.-0", "lh:A.1", "lh:1.Z", "lh:01.2", "lh:1.00",
    "LH:1.2", "Lh:1.2", "1.2", "xlh:1.2", " lh:1.2", "lh:1.2 ", "lh: 1.2", "lh:1.2\n", "lh;1.2",
    "lh:1,2", "lh:1_0.2", "lh:\u{661}.2", "lh:e\u{301}.1",
    // 2^64
    "lh:3w5e11264sgsg.0", "lh:0.3w5e11264sgsg",
  ])
  func `another spelling is another's name`(_ text: String) {
    #expect(BufferKey(parsing: text) == nil)
  }
}
