/// FIPS 180-4. The constants are made as it says: from the fractions of primes' roots.
func sha256(_ message: [UInt8]) -> [UInt8] {
  let primes = (2...311).filter { number in !(2..<number).contains { number % $0 == 0 } }
  var state = primes.prefix(8).map { fraction(of: Double($0).squareRoot()) }
  let constants = primes.map { cubeRootFraction(of: UInt64($0)) }
  var padded = message + [0x80]
  padded += [UInt8](repeating: 0, count: (120 - padded.count % 64) % 64)
  padded += [UInt8](UInt64(message.count * 8)).reversed()
  for start in stride(from: 0, to: padded.count, by: 64) {
    var words = stride(from: start, to: start + 64, by: 4).map { offset in
      padded[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
    for index in 16..<64 {
      let (early, late) = (words[index - 15], words[index - 2])
      let first = rotate(early, 7) ^ rotate(early, 18) ^ early >> 3
      let second = rotate(late, 17) ^ rotate(late, 19) ^ late >> 10
      words.append(words[index - 16] &+ first &+ words[index - 7] &+ second)
    }
    var round = state
    for index in 0..<64 {
      let (a, b, c, e) = (round[0], round[1], round[2], round[4])
      let choice = (e & round[5]) ^ (~e & round[6])
      let sum = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)
      let first = round[7] &+ sum &+ choice &+ constants[index] &+ words[index]
      let majority = (a & b) ^ (a & c) ^ (b & c)
      let second = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) &+ majority
      round = [first &+ second] + round[0..<7]
      round[4] &+= first
    }
    state = zip(state, round).map { $0 &+ $1 }
  }
  return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) } }
}

private func rotate(_ word: UInt32, _ count: UInt32) -> UInt32 {
  word >> count | word << (32 - count)
}

private func fraction(of number: Double) -> UInt32 {
  UInt32((number - number.rounded(.down)) * 0x1p32)
}

/// By bisection: the largest root in units of 2^-32 whose cube is not above the number.
private func cubeRootFraction(of number: UInt64) -> UInt32 {
  var (low, high) = (UInt128(0), UInt128(8) << 32)
  while high - low > 1 {
    let middle = (low + high) / 2
    if middle * middle * middle <= UInt128(number) << 96 { low = middle } else { high = middle }
  }
  return UInt32(truncatingIfNeeded: low)
}
