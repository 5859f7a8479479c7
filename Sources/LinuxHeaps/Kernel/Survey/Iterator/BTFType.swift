/// The fixed part of a type in BTF (`struct btf_type`, linux/btf.h).
struct BTFType {
  enum Kind: UInt8 {
    case integer = 1
    case pointer, array, structure, union, enumeration, forward, alias, volatile, const, restrict
    case function, prototype, variable, section, float, declarationTag, typeTag, wideEnumeration
  }

  /// Nil for one of a later kernel.
  let kind: Kind?
  private let rawKind: UInt8
  /// Where its name begins among the strings.
  let name: Int
  /// Members, parameters or the like.
  let count: Int
  let flag: Bool
  /// A type's number, or a size: the kind decides.
  let target: Int
  /// Where what follows it begins.
  let details: Int

  init(at place: Int, in bytes: BTFBytes) throws(BTF.Malformed) {
    name = try bytes.word(at: place)
    let information = try bytes.word(at: place + 4)
    target = try bytes.word(at: place + 8)
    // Of later kernels; earlier ones use 5 bits and 16, and leave the others 0.
    rawKind = UInt8(truncatingIfNeeded: information >> 24 & 0x7f)
    kind = Kind(rawValue: rawKind)
    count = information & 0xff_ffff
    flag = information >> 31 != 0
    details = place + 12
  }

  /// Another name or a qualifier of the type that it refers to.
  var isAlias: Bool {
    switch kind {
    case .alias, .volatile, .const, .restrict, .typeTag: true
    default: false
    }
  }

  /// Bytes, with what follows it.
  func length(by layouts: Range<Int>, in bytes: BTFBytes) throws(BTF.Malformed) -> Int {
    switch kind {
    case .pointer, .forward, .alias, .volatile, .const, .restrict, .function, .float, .typeTag: 12
    case .integer, .variable, .declarationTag: 16
    case .array: 24
    case .structure, .union, .section, .wideEnumeration: 12 + 12 * count
    case .enumeration, .prototype: 12 + 8 * count
    case nil: try lengthOfUnknown(by: layouts, in: bytes)
    }
  }

  /// By `struct btf_layout`: a byte for what follows once, and a byte for what follows `count` times.
  private func lengthOfUnknown(
    by layouts: Range<Int>, in bytes: BTFBytes
  ) throws(BTF.Malformed) -> Int {
    let place = layouts.lowerBound + 4 * Int(rawKind)
    guard rawKind > 0, place + 4 <= layouts.upperBound else {
      throw BTF.Malformed("it has types of kind \(rawKind), which this program does not know")
    }
    return 12 + Int(try bytes.byte(at: place)) + count * Int(try bytes.byte(at: place + 1))
  }
}
