/// A reading of the kernel's figures, which costs more than a small allocation.
struct MemoryReading {
  let memory: MachineMemory
  /// Bytes admitted on its strength.
  var spent: UInt64 = 0
  private let time = MonotonicTime.now

  init(_ memory: MachineMemory) { self.memory = memory }

  /// A few small requests may lean on one reading: a sixteenth of the headroom, for 50 ms.
  func covers(_ size: UInt64, headroom: UInt64) -> Bool {
    let age = MonotonicTime.now.nanoseconds - time.nanoseconds
    return age < 50_000_000 && size <= (headroom / 16).less(spent)
  }
}
