internal import Glibc

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
  /// A size as a person writes it: `4096`, `64K`, `8M`, `1G`; the units are powers of 1024.
  package init?(byteSize text: String) {
    let shifts: [Character: UInt64] = ["K": 10, "M": 20, "G": 30]
    var digits = text[...]
    var shift: UInt64 = 0
    if let unit = digits.last.flatMap({ shifts[Character($0.uppercased())] }) {
      digits.removeLast()
      shift = unit
    }
    // UInt64 would take a sign.
    guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = UInt64(digits),
      number > 0, number <= .max >> shift
    else { return nil }
    self = number << shift
  }
}

extension UInt64 {
  /// The size of an allocation in whole pages.
  package func checkedAsVmoSize() throws(HeapError) -> UInt64 {
    guard self > 0 else {
      throw HeapError(
        .invalidArgs, "allocate 0 bytes", cause: "a buffer has at least one page",
        fix: "ask for 1 byte or more")
    }
    guard let pages = roundedUpToPages else {
      throw HeapError(
        .outOfRange, "allocate \(self) bytes", cause: "rounded up to pages that is over 2^63 - 1")
    }
    return pages
  }
}
