import LinuxHeaps
import TestSupport
import Testing

/// One change to a good message.
struct Malformed: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let bytes: [UInt8]
  let handles: Int

  init(
    _ message: GoodMessage, _ change: String, _ bytes: [UInt8], at offset: Int,
    handles: Int? = nil
  ) {
    testDescription = "\(message.testDescription): \(change)"
    self.bytes = message.bytes.with(bytes, at: offset)
    self.handles = handles ?? message.handles
  }

  init(_ message: GoodMessage, _ change: String, appending bytes: [UInt8]) {
    testDescription = "\(message.testDescription): \(change)"
    self.bytes = message.bytes + bytes
    handles = message.handles
  }

  static let heap =
    headers(of: .allocate) + headers(of: .delete) + headers(of: .watchBuffers)
    + headers(of: .allocateFrom) + bodies + settings
  static let observer =
    headers(of: .getVmoInfo) + headers(of: .getStatus) + tables

  /// What is wrong with any message.
  private static func headers(of message: GoodMessage) -> [Malformed] {
    [
      Malformed(message, "wrong magic", [2], at: 7),
      Malformed(message, "the format before this", [0], at: 4),
      Malformed(message, "at-rest flags", [1], at: 5),
      Malformed(message, "no transaction", [0, 0, 0, 0], at: 0),
      Malformed(message, "one handle too many", [], at: 0, handles: message.handles + 1),
      Malformed(message, "64 handles", [], at: 0, handles: 64),
      Malformed(message, "65 handles", [], at: 0, handles: 65),
      Malformed(message, "253 handles", [], at: 0, handles: 253),
      Malformed(message, "one byte more", appending: [0]),
      Malformed(message, "eight bytes more", appending: [UInt8](repeating: 0, count: 8)),
      Malformed(
        message, "65,536 bytes",
        appending: [UInt8](repeating: 0, count: 65_536 - message.bytes.count)),
      Malformed(
        message, "65,537 bytes",
        appending: [UInt8](repeating: 0, count: 65_537 - message.bytes.count)),
      Malformed(
        message, "150,000 bytes",
        appending: [UInt8](repeating: 0, count: 150_000 - message.bytes.count)),
    ]
  }

  private static let bodies = [
    Malformed(.allocate, "the table's presence", [0], at: 39),
    Malformed(.allocate, "no table", [UInt8](repeating: 0, count: 8), at: 32),
    Malformed(.allocate, "a table that is not there", [2], at: 24),
    Malformed(.allocate, "a huge table", [0xff], at: 31),
    Malformed(.delete, "padding", [1], at: 36),
    Malformed(.delete, "no handle", [], at: 0, handles: 0),
    Malformed(.delete, "an absent handle", [0, 0, 0, 0], at: 32),
    Malformed(.delete, "an absent handle, and none", [0, 0, 0, 0], at: 32, handles: 0),
    Malformed(.delete, "the handle's presence", [1], at: 32),
  ]

  private static let settings = [
    Malformed(.allocateFull, "a bool", [2], at: 96),
    Malformed(.allocateFull, "a bool's padding", [1], at: 97),
    Malformed(.allocateFull, "a small value out of line", [1, 0, 0, 0, 0, 0, 0, 0], at: 96),
    Malformed(.allocateFull, "a large value in line", [1], at: 94),
    Malformed(.allocateFull, "an envelope's flags", [2], at: 94),
    Malformed(.allocateFull, "an envelope of too many bytes", [16], at: 88),
    Malformed(.allocateFull, "an envelope of too few bytes", [0x90], at: 56),
    Malformed(.allocateFull, "an envelope's handles", [1], at: 92, handles: 1),
    Malformed(.allocateFull, "a string's presence", [1], at: 184),
    Malformed(.allocateFull, "a string over its bound", [129], at: 176),
    Malformed(.allocateFull, "a string of 2^63 bytes", [0x80], at: 183),
    Malformed(.allocateFull, "a string's padding", [1], at: 201),
    Malformed(.allocateFull, "no UTF-8", [0xff], at: 192),
    Malformed(.allocateFull, "a character too long", [0xc0, 0x80], at: 192),
    Malformed(.allocateFull, "color spaces over their bound", [33], at: 408),
    Malformed(.allocateFull, "color spaces absent", [UInt8](repeating: 0, count: 8), at: 416),
    Malformed(.allocateFull, "color spaces' padding", [1], at: 436),
    Malformed(.allocateFull, "formats over their bound", [65], at: 496),
    Malformed(.allocateFull, "a format's padding", [1], at: 516),
    Malformed(.allocateFull, "sizes over their bound", [65], at: 544),
    Malformed(.allocateFull, "a table in a table absent", [0], at: 80),
  ]

  private static let tables = [
    Malformed(.getVmoInfo, "no table", [UInt8](repeating: 0, count: 8), at: 24),
    Malformed(.getVmoInfo, "a huge table", [0xff], at: 23),
    Malformed(.getVmoInfo, "no vmo", [UInt8](repeating: 0, count: 8), at: 32, handles: 0),
    Malformed(.getVmoInfo, "no vmo, and a handle", [UInt8](repeating: 0, count: 8), at: 32),
    Malformed(.getVmoInfo, "no handle", [], at: 0, handles: 0),
    Malformed(.getVmoInfo, "an absent handle", [0, 0, 0, 0], at: 32),
    Malformed(.getVmoInfo, "an envelope of no handles", [0], at: 36),
    Malformed(.attach, "no server end", [UInt8](repeating: 0, count: 8), at: 32),
    Malformed(.attach, "no number", [UInt8](repeating: 0, count: 8), at: 40),
    Malformed(.attach, "no collection", [UInt8](repeating: 0, count: 8), at: 48),
    Malformed(.attach, "an envelope's handles", [1], at: 44),
    Malformed(.attach, "a collection of 4 bytes", [4], at: 48),
    Malformed(.awaitReclaimed, "two handles told", [2], at: 36),
    Malformed(.awaitReclaimed, "no transaction", [0, 0, 0, 0], at: 0),
    Malformed(.attach, "no transaction", [0, 0, 0, 0], at: 0),
    Malformed(.getStatus, "a table that is not there", [1], at: 16),
    Malformed(.getStatus, "the table's presence", [0], at: 31),
  ]
}
