import Glibc
import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct HugePageTests {
  /// Files of a machine as `/sys/kernel/mm/hugepages` has them.
  private static func machine(_ sizes: [(name: String, counts: [String: Int])]) throws
    -> TemporaryDirectory
  {
    let machine = try TemporaryDirectory()
    for (name, counts) in sizes {
      let folder = "\(HugePageSize.directory.dropFirst())/hugepages-\(name)"
      try machine.directory(folder)
      for (file, count) in counts { try machine.file("\(folder)/\(file)", "\(count)\n") }
    }
    return machine
  }

  @Test func `sizes are those that the kernel has, with what nobody was promised`()
    throws
  {
    let machine = try Self.machine([
      ("1048576kB", ["nr_hugepages": 1, "free_hugepages": 1, "resv_hugepages": 1]),
      ("32768kB", ["nr_hugepages": 0, "nr_overcommit_hugepages": 3, "surplus_hugepages": 1]),
      ("64kB", ["nr_hugepages": 10, "free_hugepages": 7, "resv_hugepages": 3]),
    ])
    let files = MachineFiles(root: machine.path)
    let sizes = HugePageSize.all(files)
    #expect(sizes.map(\.bytes) == [64 << 10, 32 << 20, 1 << 30])
    #expect(sizes.map(\.total) == [640 << 10, 64 << 20, 1 << 30])
    #expect(sizes.map(\.available) == [256 << 10, 64 << 20, 0])
    #expect(HugePageSize.areReserved(files))
  }

  @Test(arguments: [
    // x86-64, and arm64 with pages of 4, 16 and 64 KiB.
    (["2048kB", "1048576kB"], "echo 16 |", "2048kB"),
    (["64kB", "2048kB", "32768kB"], "echo 16 |", "2048kB"),
    (["32768kB", "1048576kB"], "echo 1 |", "32768kB"),
    (["524288kB"], "echo 1 |", "524288kB"),
  ])
  func `what reserves some is of a size that is there`(
    _ names: [String], _ start: String, _ size: String
  ) throws {
    let machine = try Self.machine(names.map { ($0, ["nr_hugepages": 0]) })
    let files = MachineFiles(root: machine.path)
    #expect(!HugePageSize.areReserved(files))
    #expect(
      HugePageSize.advice(files).hasPrefix(
        "\(start) sudo tee /sys/kernel/mm/hugepages/hugepages-\(size)/nr_hugepages  # "))
  }

  @Test func `what reserves more takes none away, and holds the request`() throws {
    let machine = try Self.machine([
      ("2048kB", ["nr_hugepages": 64]), ("32768kB", ["nr_hugepages": 0]),
    ])
    let files = MachineFiles(root: machine.path)
    #expect(HugePageSize.advice(files).hasPrefix("echo 80 | "))
    #expect(HugePageSize.advice(files, for: 2 << 20).hasPrefix("echo 80 | "))
    let larger = HugePageSize.advice(files, for: (2 << 20) + 1)
    #expect(larger.hasPrefix("echo 1 | ") && larger.contains("hugepages-32768kB"))
    #expect(
      HugePageSize.advice(files, for: 64 << 20)
        == "ask for at most 32 MiB, the largest huge page of this machine")
    #expect(
      HugePageSize.advice(files, for: 64 << 20, isContiguous: false).hasPrefix("echo 96 | "))
  }

  @Test func `a part is the first that has room, and one that was a buffer's is known to be`() {
    var parts = HugePageParts(byteCount: 16)
    let places: [UInt64] = [4, 4, 4].map { parts.take($0)!.offset }
    #expect(places == [0, 4, 8])
    #expect(parts.take(5) == nil)
    parts.giveBack(4)
    #expect(parts.take(5) == nil)
    #expect(parts.take(2)! == (4, true))
    #expect(parts.take(2)! == (6, true))
    #expect(parts.take(4)! == (12, false))
    for offset: UInt64 in [0, 4, 6, 8, 12] { parts.giveBack(offset) }
    #expect(parts.take(16)! == (0, true))
  }

  @Test func `parts never overlap, and none that was a buffer's goes for new`() {
    var parts = HugePageParts(byteCount: 64)
    var live: [Range<UInt64>] = []
    var used: Set<UInt64> = []
    for _ in 0..<2000 {
      let size = UInt64.random(in: 1...20)
      if Bool.random(), let (offset, isUsed) = parts.take(size) {
        let range = offset..<offset + size
        #expect(range.upperBound <= 64 && live.allSatisfy { !$0.overlaps(range) })
        #expect(isUsed || used.isDisjoint(with: range))
        used.formUnion(range)
        live.append(range)
      } else if let index = live.indices.randomElement() {
        parts.giveBack(live.remove(at: index).lowerBound)
      }
    }
  }

  @Test func `huge pages can be anywhere in a list of heaps, and are contiguous memory`() throws {
    #expect(NamedHeap.misplaced(in: ["hugetlb", "system", "udmabuf"]) == nil)
    #expect(NamedHeap.misplaced(in: ["udmabuf", "hugetlb"]) == "udmabuf")
    #expect(NamedHeap(["hugetlb", "system"]).nodes == ["system"])
    let machine = try HeapNodes(["system", "reserved"])
    let devices = HeapDevices(machine.catalog, chosen: ["reserved", "hugetlb", "system"])
    #expect(devices.candidates(.contiguous).map(\.name) == ["reserved", "hugetlb"])
    #expect(devices.candidates(.protected).map(\.name) == [])
  }
}
