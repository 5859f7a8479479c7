/// Finds places of a table by a hash of what stands there. The table itself compares: the index keeps eight bytes an
/// entry, and a key can be computed from what is there already.
///
/// Open addressing with linear probing; what is removed is closed up, so that no marks of it remain.
struct HashIndex {
  private struct Slot {
    var hash: UInt32 = 0
    /// Negative for an empty slot.
    var place: Int32 = -1
  }

  private var slots = [Slot](repeating: Slot(), count: 8)
  private(set) var count = 0

  private var mask: Int { slots.count - 1 }

  mutating func insert(_ hash: UInt32, _ place: Int) {
    if (count + 1) * 4 > slots.count * 3 { resize(to: slots.count * 2) }
    put(Slot(hash: hash, place: Int32(place)))
    count += 1
  }

  private mutating func put(_ slot: Slot) {
    var index = Int(slot.hash) & mask
    while slots[index].place >= 0 { index = (index + 1) & mask }
    slots[index] = slot
  }

  /// The first place of this hash that `isSuch`.
  func find(_ hash: UInt32, where isSuch: (Int) -> Bool) -> Int? {
    var index = Int(hash) & mask
    while slots[index].place >= 0 {
      let slot = slots[index]
      if slot.hash == hash, isSuch(Int(slot.place)) { return Int(slot.place) }
      index = (index + 1) & mask
    }
    return nil
  }

  mutating func remove(_ hash: UInt32, _ place: Int) {
    var hole = Int(hash) & mask
    while slots[hole].place != place || slots[hole].hash != hash {
      precondition(slots[hole].place >= 0, "it was never inserted")
      hole = (hole + 1) & mask
    }
    count -= 1
    // What follows without a gap is moved up, unless it stands at or behind its own start already.
    var next = (hole + 1) & mask
    while slots[next].place >= 0 {
      let start = Int(slots[next].hash) & mask
      if (next - start) & mask >= (next - hole) & mask {
        slots[hole] = slots[next]
        hole = next
      }
      next = (next + 1) & mask
    }
    slots[hole] = Slot()
    if slots.count > 64, count * 8 < slots.count { resize(to: slots.count / 2) }
  }

  private mutating func resize(to capacity: Int) {
    let old = slots
    slots = [Slot](repeating: Slot(), count: capacity)
    for slot in old where slot.place >= 0 { put(slot) }
  }
}

/// A hash of two numbers that clients may choose. Its seed is this process's own, so that nobody outside can choose
/// numbers that meet.
///
/// Two multiplications to 128 bits in place of SipHash, which `Hasher` is: it would be a tenth of all that a small
/// buffer costs.
struct NumberHash: Sendable {
  private let seeds: (UInt64, UInt64, UInt64)

  init() {
    var generator = SystemRandomNumberGenerator()
    seeds = (generator.next() | 1, generator.next() | 1, generator.next() | 1)
  }

  func callAsFunction(_ one: UInt64, _ other: UInt64) -> UInt32 {
    let first = Self.fold(one ^ seeds.0, other ^ seeds.1)
    return UInt32(truncatingIfNeeded: Self.fold(first ^ seeds.2, seeds.1) >> 16)
  }

  private static func fold(_ one: UInt64, _ other: UInt64) -> UInt64 {
    let product = one.multipliedFullWidth(by: other)
    return product.high ^ product.low
  }
}
