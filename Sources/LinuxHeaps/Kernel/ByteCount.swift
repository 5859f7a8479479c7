internal import CLibrary

/// The size of a page of this kernel: 4, 16 or 64 KiB. Every size and offset of a vmo is a multiple.
public let pageSize = UInt64(sysconf(CInt(_SC_PAGESIZE)))

extension UInt64 {
  /// Rounded up to whole pages, or nil where that is more than a file offset can be (2^63 - 1).
  package var roundedUpToPages: UInt64? {
    let (sum, overflow) = addingReportingOverflow(pageSize - 1)
    let rounded = sum & ~(pageSize - 1)
    return overflow || rounded > UInt64(Int64.max) ? nil : rounded
  }

  /// The difference, 0 where it would be negative.
  func less(_ other: UInt64) -> UInt64 { self - Swift.min(self, other) }

  /// The sum, the largest number where it would be larger.
  package func plus(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }

  var isPageAligned: Bool { self & (pageSize - 1) == 0 }

  /// For people: `8 MiB`, `1.5 GiB`, `300 B`.
  public var asByteCount: String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    var unit = 0
    while unit + 1 < units.count, self >> (10 * UInt64(unit + 1)) > 0 { unit += 1 }
    let whole = self >> (10 * UInt64(unit))
    let tenth = unit == 0 ? 0 : ((self >> (10 * UInt64(unit - 1))) & 1023) * 10 / 1024
    return tenth == 0 ? "\(whole) \(units[unit])" : "\(whole).\(tenth) \(units[unit])"
  }
}

extension UInt64 {
  /// A size as a person writes it, or as ``asByteCount`` does: `4096`, `0x1000`, `64K`, `8M`, `1.5G`, `8MiB`, `1.5 GiB`,
  /// `300 B`; the units are powers of 1024. Nil for what is no whole number of bytes, for 0, and for `MB`, which is 1000 times
  /// 1000 to some.
  package init?(byteSize text: String) {
    if text.hasPrefix("0x") {
      // It would take a sign.
      let digits = text.dropFirst(2)
      guard digits.allSatisfy(\.isHexDigit), let number = UInt64(digits, radix: 16), number > 0
      else { return nil }
      self = number
      return
    }
    let number = text.prefix { $0.isASCII && $0.isNumber || $0 == "." }
    var unit = text.dropFirst(number.count)
    if unit.first == " ", unit.count > 1, !number.isEmpty { unit.removeFirst() }
    let units = ["", "K", "M", "G", "T"]
    guard
      let power = unit == "B"
        ? 0
        : units.firstIndex(
          of: (unit.count == 3 && unit.hasSuffix("iB") ? unit.dropLast(2) : unit).uppercased()),
      let bytes = Self.product(of: number, shift: UInt64(power) * 10)
    else { return nil }
    self = bytes
  }

  /// A decimal fraction times 2^`shift`, where that is a whole number.
  private static func product(of number: Substring, shift: UInt64) -> UInt64? {
    let parts = number.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count <= 2, !parts.contains("") else { return nil }
    let places = parts.count == 2 ? parts[1].count : 0
    guard places < 10, let digits = UInt64(parts.joined()), digits > 0, digits <= .max >> shift
    else { return nil }
    let scale = (0..<places).reduce(UInt64(1)) { scale, _ in scale * 10 }
    let (bytes, rest) = (digits << shift).quotientAndRemainder(dividingBy: scale)
    return rest == 0 ? bytes : nil
  }
}

extension UInt64 {
  /// The size of an allocation in whole pages.
  package func checkedAsVmoSize() throws(HeapError) -> UInt64 {
    guard self > 0 else {
      throw HeapError(
        .invalidArgs, "allocate 0 bytes", cause: "a buffer has at least 1 byte",
        fix: "ask for 1 byte or more")
    }
    guard let pages = roundedUpToPages else {
      throw HeapError(
        .outOfRange, "allocate \(self) bytes", cause: "rounded up to pages that is over 2^63 - 1",
        fix: "ask for less")
    }
    return pages
  }
}
