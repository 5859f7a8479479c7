@testable import LinuxHeaps

let mebibyte: UInt64 = 1 << 20

extension MachineMemory {
  /// A machine of any size, in MiB.
  static func of(
    total: UInt64 = 1024, available: UInt64, contiguousFree: UInt64 = 0, contiguousTotal: UInt64 = 0
  ) -> MachineMemory {
    MachineMemory(
      parsing: """
        MemTotal:       \(total << 10) kB
        MemAvailable:   \(available << 10) kB
        CmaTotal:       \(contiguousTotal << 10) kB
        CmaFree:        \(contiguousFree << 10) kB

        """)
  }
}

extension Admission {
  /// For a machine whose figures stay as they are.
  convenience init(floor: UInt64? = 0, budget: UInt64? = nil, on machine: MachineMemory) {
    self.init(floor: floor, budget: budget) { machine }
  }
}
