import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// Heap is a closed protocol, Observer an open one.
@Suite struct UnknownMethodTests {
  private static func header(
    _ transaction: UInt32, _ ordinal: MessageOrdinal, isFlexible: Bool
  ) -> [UInt8] {
    let words: [UInt8] = [2, 0, isFlexible ? 0x80 : 0, 1]
    return transaction.bytes + words + ordinal.rawValue.bytes
  }

  /// One that no method has, one of the other protocol, an event, an epitaph.
  static let heapOrdinals: [MessageOrdinal] = [
    MessageOrdinal(rawValue: 0x1234_5678_9abc_def0), .getVmoInfo, .onRegister, .epitaph,
    MessageOrdinal(rawValue: 0),
  ]

  @Test(arguments: heapOrdinals, [false, true])
  func `Heap ends the connection`(_ ordinal: MessageOrdinal, _ isFlexible: Bool) throws {
    let scene = try Scene()
    do {
      let file = try OddFile.memfd()
      for transaction: UInt32 in [0, 1] {
        let client = try WireClient.heap(scene.daemon)
        try client.send(
          Self.header(transaction, ordinal, isFlexible: isFlexible),
          Array(repeating: file.fd.rawValue, count: 3))
        let status = try client.epitaph()
        #expect(status == .notSupported)
      }
    }
    try scene.expectUnharmed()
  }

  @Test func `Observer answers a flexible two-way method`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.observer(scene.daemon)
      let file = try OddFile.memfd()
      let ordinal = MessageOrdinal(rawValue: 0x1234_5678_9abc_def0)
      for handles in [0, 1, 64] {
        try client.send(
          Self.header(77, ordinal, isFlexible: true) + [UInt8](repeating: 0xff, count: 100),
          Array(repeating: file.fd.rawValue, count: handles))
        // The union's third member: framework_err, NOT_SUPPORTED.
        let expected =
          Self.header(77, ordinal, isFlexible: true)
          + [3, 0, 0, 0, 0, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0, 0, 1, 0]
        #expect(try client.receive()?.bytes == expected)
      }
      try client.expectServed()
    }
    try scene.expectUnharmed()
  }

  @Test func `Observer passes over a flexible one-way method`() throws {
    let scene = try Scene()
    do {
      let client = try WireClient.observer(scene.daemon)
      let file = try OddFile.memfd()
      for _ in 0..<3 {
        try client.send(
          Self.header(0, MessageOrdinal(rawValue: 5), isFlexible: true), [file.fd.rawValue])
      }
      try client.expectServed()
    }
    try scene.expectUnharmed()
  }

  @Test(arguments: [0, 1] as [UInt32])
  func `Observer ends the connection at a strict method`(_ transaction: UInt32) throws {
    let scene = try Scene()
    do {
      let client = try WireClient.observer(scene.daemon)
      let file = try OddFile.memfd()
      try client.send(
        Self.header(transaction, .allocateVmo, isFlexible: false), [file.fd.rawValue])
      #expect(try client.epitaph() == .notSupported)
    }
    try scene.expectUnharmed()
  }
}

extension FixedWidthInteger {
  /// Little-endian.
  fileprivate var bytes: [UInt8] {
    stride(from: 0, to: Self.bitWidth, by: 8).map { UInt8(truncatingIfNeeded: self >> Self($0)) }
  }
}

extension WireClient {
  /// An observer's connection takes requests.
  fileprivate func expectServed() throws {
    #expect(try status().schemaVersion == 1)
  }
}
