/// The types of the running kernel as it describes them itself: BTF (Documentation/bpf/btf.rst).
///
/// Only as much as finds a function by its name and goes from type to type. A number or a place that leads out
/// of the description is told, never followed.
struct BTF {
  /// Why it cannot be made sense of.
  struct Malformed: Error, Equatable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
  }

  private let bytes: [UInt8]
  private let strings: Range<Int>
  /// Where each type stands. The first has the number 1; 0 is `void`.
  private let places: [Int]

  /// In the byte order of this machine, as `/sys/kernel/btf/vmlinux` is.
  init(_ bytes: [UInt8]) throws(Malformed) {
    guard try bytes.half(at: 0) == 0xeb9f else { throw Malformed("it does not begin as BTF does") }
    let version = try bytes.byte(at: 2)
    guard version == 1 else { throw Malformed("it is BTF of version \(version), not 1") }
    // Later kernels have longer headers, and count from their end.
    let header = try bytes.word(at: 4)
    guard header >= 24 else { throw Malformed("its header has \(header) bytes, not 24 or more") }
    func section(_ place: Int, _ name: String) throws(Malformed) -> Range<Int> {
      let start = header + (try bytes.word(at: place))
      let end = start + (try bytes.word(at: place + 4))
      guard end <= bytes.count else {
        throw Malformed("its \(name) end at byte \(end) of \(bytes.count)")
      }
      return start..<end
    }
    let types = try section(8, "types")
    let strings = try section(16, "strings")
    // Of later kernels: how long a kind is that a reader does not know.
    let layouts = header >= 32 ? try section(24, "layouts") : 0..<0
    var places: [Int] = []
    places.reserveCapacity(types.count / 16)
    var place = types.lowerBound
    while place < types.upperBound {
      places.append(place)
      let type = try BTFType(at: place, in: bytes)
      place += try type.length(by: layouts, in: bytes)
    }
    guard place == types.upperBound else {
      throw Malformed("its type \(places.count) ends beyond the types")
    }
    self.bytes = bytes
    self.strings = strings
    self.places = places
  }

  func type(_ number: Int) throws(Malformed) -> BTFType {
    guard number >= 1, number <= places.count else {
      throw Malformed("there is no type \(number) among its \(places.count)")
    }
    return try BTFType(at: places[number - 1], in: bytes)
  }

  /// The number of a function, nil where there is none of that name.
  func function(named name: String) throws(Malformed) -> Int? {
    let wanted = Array(name.utf8)
    for (index, place) in places.enumerated() {
      let type = try BTFType(at: place, in: bytes)
      if type.kind == .function, try bytes.string(at: type.name, in: strings, is: wanted) {
        return index + 1
      }
    }
    return nil
  }

  /// The types of a function's parameters.
  func parameters(of function: Int) throws(Malformed) -> [Int] {
    let prototype = try type(try type(function).target)
    guard prototype.kind == .prototype else {
      throw Malformed("its function \(function) has no prototype")
    }
    return try (0..<prototype.count).map { index throws(Malformed) in
      try bytes.word(at: prototype.details + 8 * index + 4)
    }
  }

  /// The type that is left of a name for it and of qualifiers.
  func resolved(_ number: Int) throws(Malformed) -> (number: Int, type: BTFType) {
    var number = number
    // Types refer to types in a circle only through structs and pointers.
    for _ in 0..<32 {
      let type = try type(number)
      guard type.isAlias else { return (number, type) }
      number = type.target
    }
    throw Malformed("its type \(number) is a name for a name without end")
  }

  /// What a pointer points to.
  func pointee(of number: Int) throws(Malformed) -> Int {
    let type = try resolved(number).type
    guard type.kind == .pointer else { throw Malformed("its type \(number) is no pointer") }
    return try resolved(type.target).number
  }

  /// Bytes that a value takes.
  func size(of number: Int) throws(Malformed) -> Int {
    let type = try resolved(number).type
    switch type.kind {
    case .pointer: return MemoryLayout<UInt>.size
    case .integer, .structure, .union, .enumeration, .wideEnumeration: return type.target
    default: throw Malformed("its type \(number) has no size")
    }
  }

  /// A member of a struct.
  struct Member: Equatable {
    /// In bytes.
    var offset: Int
    let type: Int
  }

  /// The member of that name, also where it is in a struct or union without a name; nil where there is
  /// none.
  func member(_ name: String, of structure: Int) throws(Malformed) -> Member? {
    try member(Array(name.utf8), of: structure, depth: 0)
  }

  /// A value in a struct, as one instruction loads it.
  struct Field: Equatable {
    let offset: Int16
    /// 1, 2, 4 or 8 bytes.
    let size: Int
  }

  /// A value by the names that lead to it from the struct that a pointer points to.
  func field(
    _ path: [String], behind pointer: Int
  ) throws(Malformed) -> (field: Field, type: Int) {
    var type = try pointee(of: pointer)
    var offset = 0
    for name in path {
      guard let member = try member(name, of: type) else {
        throw Malformed("it has no \(path.joined(separator: "."))")
      }
      offset += member.offset
      type = member.type
    }
    let size = try size(of: type)
    guard let short = Int16(exactly: offset), [1, 2, 4, 8].contains(size) else {
      throw Malformed(
        "\(path.joined(separator: ".")) has \(size) bytes at \(offset), which no instruction loads")
    }
    return (Field(offset: short, size: size), type)
  }

  private func member(
    _ name: [UInt8], of structure: Int, depth: Int
  ) throws(Malformed) -> Member? {
    guard depth < 16 else { throw Malformed("its type \(structure) holds itself") }
    let (number, type) = try resolved(structure)
    guard type.kind == .structure || type.kind == .union else {
      throw Malformed("its type \(number) is neither a struct nor a union")
    }
    for index in 0..<type.count {
      let place = type.details + 12 * index
      let label = try bytes.word(at: place)
      let member = try bytes.word(at: place + 4)
      let bits = try bytes.word(at: place + 8)
      // Where a struct has a bit field, the upper byte is the number of its bits.
      let (offset, isBitField) = type.flag ? (bits & 0xff_ffff, bits >> 24 != 0) : (bits, false)
      if label == 0 {
        let inner = try resolved(member).type
        guard inner.kind == .structure || inner.kind == .union else { continue }
        if var found = try self.member(name, of: member, depth: depth + 1) {
          found.offset += offset / 8
          return found
        }
      } else if try bytes.string(at: label, in: strings, is: name) {
        guard !isBitField, offset % 8 == 0 else {
          throw Malformed("\(String(decoding: name, as: UTF8.self)) is a bit field")
        }
        return Member(offset: offset / 8, type: member)
      }
    }
    return nil
  }
}

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

  init(at place: Int, in bytes: [UInt8]) throws(BTF.Malformed) {
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
  func length(by layouts: Range<Int>, in bytes: [UInt8]) throws(BTF.Malformed) -> Int {
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
    by layouts: Range<Int>, in bytes: [UInt8]
  ) throws(BTF.Malformed) -> Int {
    let place = layouts.lowerBound + 4 * Int(rawKind)
    guard rawKind > 0, place + 4 <= layouts.upperBound else {
      throw BTF.Malformed("it has types of kind \(rawKind), which this program does not know")
    }
    return 12 + Int(try bytes.byte(at: place)) + count * Int(try bytes.byte(at: place + 1))
  }
}

/// The bytes of a description, read only where there are some.
extension [UInt8] {
  fileprivate func byte(at place: Int) throws(BTF.Malformed) -> UInt8 { try load(at: place) }
  fileprivate func half(at place: Int) throws(BTF.Malformed) -> UInt16 { try load(at: place) }
  fileprivate func word(at place: Int) throws(BTF.Malformed) -> Int {
    Int(try load(at: place) as UInt32)
  }

  private func load<Value: FixedWidthInteger & BitwiseCopyable>(
    at place: Int
  ) throws(BTF.Malformed) -> Value {
    guard place >= 0, place <= count - MemoryLayout<Value>.size else {
      throw BTF.Malformed("it ends at byte \(count), before what should be at byte \(place)")
    }
    return unsafe withUnsafeBytes {
      unsafe $0.loadUnaligned(fromByteOffset: place, as: Value.self)
    }
  }

  /// Whether the string, which ends with a NUL, is this one.
  fileprivate func string(
    at offset: Int, in strings: Range<Int>, is wanted: [UInt8]
  ) throws(BTF.Malformed) -> Bool {
    let start = strings.lowerBound + offset
    guard start < strings.upperBound else {
      throw BTF.Malformed("a name of it begins at byte \(offset) of \(strings.count)")
    }
    let end = start + wanted.count
    guard end < strings.upperBound, self[end] == 0 else { return false }
    return self[start..<end].elementsEqual(wanted)
  }
}
