internal import ArgumentParser

/// A size as a person writes it: `4096`, `64K`, `8M`, `1G`; the units are powers of 1024.
struct ByteSize: ExpressibleByArgument {
  let bytes: UInt64

  init?(argument: String) {
    let shifts: [Character: UInt64] = ["K": 10, "M": 20, "G": 30]
    var digits = argument[...]
    var shift: UInt64 = 0
    if let unit = digits.last.flatMap({ shifts[Character($0.uppercased())] }) {
      digits.removeLast()
      shift = unit
    }
    // UInt64 would take a sign.
    guard digits.allSatisfy({ $0.isASCII && $0.isNumber }), let number = UInt64(digits),
      number > 0, number <= .max >> shift
    else { return nil }
    bytes = number << shift
  }
}
