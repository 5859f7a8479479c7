/// Takes the text out of a gzip file (RFC 1952) in memory, as the kernel packs its own options: one
/// member, compressed by DEFLATE (RFC 1951). Nil for what is damaged.
///
/// Written here because libz would be one more thing that a board has to have, for one small file.
func gunzip(_ file: [UInt8]) -> [UInt8]? {
  guard file.count > 18, file[0] == 0x1f, file[1] == 0x8b, file[2] == 8 else { return nil }
  let flags = file[3]
  // /proc/config.gz has no extra field, name, comment or header checksum: `gzip -n`.
  guard flags == 0 else { return nil }
  var stream = Inflate(file.dropFirst(10))
  guard let text = stream.run() else { return nil }
  let size = file.suffix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
  return size == UInt32(truncatingIfNeeded: text.count) ? text : nil
}

private struct Inflate {
  private let bytes: ArraySlice<UInt8>
  private var next: Int
  private var bits: UInt32 = 0
  private var bitCount = 0
  private var text: [UInt8] = []

  init(_ bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    next = bytes.startIndex
  }

  mutating func run() -> [UInt8]? {
    while true {
      guard let isLast = take(1), let kind = take(2) else { return nil }
      let isGood =
        switch kind {
        case 0: copyStored()
        case 1: copy(.fixedLengths, .fixedDistances)
        case 2: copyDynamic()
        default: false
        }
      if !isGood { return nil }
      if isLast == 1 { return text }
    }
  }

  /// The next bits, the first the lowest (RFC 1951, 3.1.1).
  private mutating func take(_ count: Int) -> Int? {
    while bitCount < count {
      guard next < bytes.endIndex else { return nil }
      bits |= UInt32(bytes[next]) << UInt32(bitCount)
      next += 1
      bitCount += 8
    }
    let value = bits & ((1 << UInt32(count)) - 1)
    bits >>= UInt32(count)
    bitCount -= count
    return Int(value)
  }

  private mutating func copyStored() -> Bool {
    bits = 0
    bitCount = 0
    guard let count = take(16), let complement = take(16), count ^ complement == 0xffff,
      next + count <= bytes.endIndex
    else { return false }
    text += bytes[next..<next + count]
    next += count
    return true
  }

  /// A code's symbol, read bit by bit: the shortest code first.
  private mutating func symbol(of code: HuffmanCode) -> Int? {
    var value = 0
    var first = 0
    var index = 0
    for count in code.counts.dropFirst() {
      guard let bit = take(1) else { return nil }
      value |= bit
      if value - first < count { return code.symbols[index + value - first] }
      index += count
      first = (first + count) << 1
      value <<= 1
    }
    return nil
  }

  private mutating func copyDynamic() -> Bool {
    guard let lengthCount = take(5), let distanceCount = take(5), let orderCount = take(4)
    else { return false }
    let order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
    var lengths = [Int](repeating: 0, count: 19)
    for place in order.prefix(orderCount + 4) {
      guard let length = take(3) else { return false }
      lengths[place] = length
    }
    let code = HuffmanCode(lengths)
    let total = lengthCount + 257 + distanceCount + 1
    var all: [Int] = []
    while all.count < total {
      guard let symbol = symbol(of: code) else { return false }
      switch symbol {
      case 0..<16: all.append(symbol)
      case 16:
        guard let last = all.last, let count = take(2) else { return false }
        all += Array(repeating: last, count: count + 3)
      case 17:
        guard let count = take(3) else { return false }
        all += Array(repeating: 0, count: count + 3)
      default:
        guard let count = take(7) else { return false }
        all += Array(repeating: 0, count: count + 11)
      }
    }
    guard all.count == total else { return false }
    return copy(
      HuffmanCode(Array(all.prefix(lengthCount + 257))),
      HuffmanCode(Array(all.dropFirst(lengthCount + 257))))
  }

  private mutating func copy(_ lengthCode: HuffmanCode, _ distanceCode: HuffmanCode) -> Bool {
    while true {
      guard let symbol = symbol(of: lengthCode) else { return false }
      if symbol == 256 { return true }
      if symbol < 256 {
        text.append(UInt8(symbol))
        continue
      }
      guard let length = length(of: symbol), let place = self.symbol(of: distanceCode),
        let distance = distance(of: place), distance <= text.count
      else { return false }
      // One by one: what is copied may be what this copy has just written.
      for _ in 0..<length { text.append(text[text.count - distance]) }
    }
  }

  /// RFC 1951, 3.2.5: four codes for each count of extra bits, and 258 apart.
  private mutating func length(of symbol: Int) -> Int? {
    let code = symbol - 257
    if code < 8 { return code + 3 }
    if code == 28 { return 258 }
    guard code < 28 else { return nil }
    let extra = code / 4 - 1
    return take(extra).map { 3 + ((4 + code % 4) << extra) + $0 }
  }

  private mutating func distance(of code: Int) -> Int? {
    if code < 4 { return code + 1 }
    guard code < 30 else { return nil }
    let extra = code / 2 - 1
    return take(extra).map { 1 + ((2 + code % 2) << extra) + $0 }
  }
}

/// A canonical Huffman code: how many codes there are of each length, and their symbols in order.
private struct HuffmanCode {
  let counts: [Int]
  let symbols: [Int]

  init(_ lengths: [Int]) {
    var counts = [Int](repeating: 0, count: 16)
    for length in lengths where length > 0 { counts[length] += 1 }
    self.counts = counts
    symbols = (1...15).flatMap { length in lengths.indices.filter { lengths[$0] == length } }
  }

  static let fixedLengths = HuffmanCode(
    Array(repeating: 8, count: 144) + Array(repeating: 9, count: 112)
      + Array(repeating: 7, count: 24) + Array(repeating: 8, count: 8))
  static let fixedDistances = HuffmanCode(Array(repeating: 5, count: 30))
}
