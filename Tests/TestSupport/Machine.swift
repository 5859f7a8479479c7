package import LinuxHeaps

package let mebibyte: UInt64 = 1 << 20

extension MachineMemory {
  /// A machine of any size, in MiB.
  package static func of(
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
