import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct MachineMemoryTests {
  private static let head = """
    MemTotal:       24684092 kB
    MemFree:        24093364 kB

    """

  @Test func `figures are bytes`() {
    let memory = MachineMemory(
      parsing: Self.head + """
        MemAvailable:   24309088 kB
        HugePages_Total:       0
        CmaTotal:         131072 kB
        CmaFree:          120000 kB
        DirectMap4k:       40764 kB

        """)
    #expect(memory.total == 24_684_092 << 10)
    #expect(memory.available == 24_309_088 << 10)
    #expect(memory.contiguousTotal == 131_072 << 10)
    #expect(memory.contiguousFree == 120_000 << 10)
  }

  @Test func `a kernel without contiguous regions has no Cma lines`() {
    let memory = MachineMemory(parsing: Self.head + "MemAvailable:   24309088 kB\n")
    #expect(memory.contiguousTotal == 0)
    #expect(memory.contiguousFree == 0)
    #expect(memory.available(movable: false) == memory.available(movable: true))
  }

  @Test func `free stands in for available`() {
    #expect(MachineMemory(parsing: Self.head).available == 24_093_364 << 10)
  }

  @Test(arguments: ["", "nonsense", "MemTotal\n", "MemTotal: much kB\n", "MemTotal:\n"])
  func `what is not told is 0`(_ text: String) {
    let memory = MachineMemory(parsing: text)
    #expect(memory.total == 0)
    #expect(memory.available == 0)
  }

  @Test(
    arguments: [
      // (available, free of it in contiguous regions, for movable pages, for others), MiB
      (100, 0, 100, 100), (100, 60, 100, 40), (100, 100, 100, 0), (50, 60, 50, 0),
    ] as [(UInt64, UInt64, UInt64, UInt64)])
  func `only movable pages may use contiguous regions`(
    _ available: UInt64, _ contiguousFree: UInt64, _ movable: UInt64, _ unmovable: UInt64
  ) {
    let memory = MachineMemory.of(available: available, contiguousFree: contiguousFree)
    #expect(memory.available(movable: true) == movable * mebibyte)
    #expect(memory.available(movable: false) == unmovable * mebibyte)
  }

  @Test func `this machine has memory`() throws {
    let memory = try MachineMemory.read()
    #expect(memory.total > memory.available)
    #expect(memory.available > 0)
  }
}
