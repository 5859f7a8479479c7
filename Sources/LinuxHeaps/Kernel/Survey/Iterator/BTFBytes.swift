/// The bytes of a description, read only where there are some.
struct BTFBytes {
  private let bytes: [UInt8]

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var count: Int { bytes.count }

  func byte(at place: Int) throws(BTF.Malformed) -> UInt8 { try load(at: place) }
  func half(at place: Int) throws(BTF.Malformed) -> UInt16 { try load(at: place) }
  func word(at place: Int) throws(BTF.Malformed) -> Int { Int(try load(at: place) as UInt32) }

  private func load<Value: FixedWidthInteger & BitwiseCopyable>(
    at place: Int
  ) throws(BTF.Malformed) -> Value {
    guard place >= 0, place <= bytes.count - MemoryLayout<Value>.size else {
      throw BTF.Malformed("it ends at byte \(bytes.count), before what should be at byte \(place)")
    }
    return unsafe bytes.withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: place, as: Value.self)
    }
  }

  /// Whether the string, which ends with a NUL, is this one.
  func string(
    at offset: Int, in strings: Range<Int>, is wanted: [UInt8]
  ) throws(BTF.Malformed) -> Bool {
    let start = strings.lowerBound + offset
    guard start < strings.upperBound else {
      throw BTF.Malformed("a name of it begins at byte \(offset) of \(strings.count)")
    }
    let end = start + wanted.count
    guard end < strings.upperBound, bytes[end] == 0 else { return false }
    return bytes[start..<end].elementsEqual(wanted)
  }
}
