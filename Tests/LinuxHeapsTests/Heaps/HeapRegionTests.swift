import Testing

@testable import LinuxHeaps

@Suite struct HeapRegionTests {
  /// What an older kernel tells: all regions together.
  private static func together() throws -> UInt64? {
    let total = try MachineMemory.read().contiguousTotal
    return total > 0 ? total : nil
  }

  @Test func `both names of the default region have its size`() throws {
    let machine = try HeapNodes(["system", "default_cma_region", "reserved"])
    try machine.addRegion("reserved", pages: 32768, available: 30000)
    for name in ["default_cma_region", "reserved"] {
      let heap = try #require(machine.catalog.heap(name))
      #expect(heap.capacity == 32768 * pageSize)
      #expect(heap.free == 30000 * pageSize)
    }
    #expect(machine.catalog.heap("system")?.capacity == nil)
    #expect(machine.catalog.heap("system")?.free == nil)
  }

  @Test func `each region has its own size`() throws {
    let machine = try HeapNodes(["default_cma_region", "reserved", "vidmem@4f000000"])
    try machine.addRegion("reserved", pages: 64, available: 0)
    try machine.addRegion("vidmem@4f000000", pages: 32, available: 8)
    let catalog = machine.catalog
    #expect(catalog.heap("default_cma_region")?.capacity == 64 * pageSize)
    #expect(catalog.heap("default_cma_region")?.free == 0)
    #expect(catalog.heap("vidmem@4f000000")?.capacity == 32 * pageSize)
    #expect(catalog.heap("vidmem@4f000000")?.free == 8 * pageSize)
    #expect(
      catalog.region(of: "vidmem@4f000000")
        == CMARegion(name: "vidmem@4f000000", total: 32 * pageSize, available: 8 * pageSize))
    #expect(catalog.region(of: "default_cma_region")?.name == "reserved")
    #expect(catalog.heap("default_cma_region")?.region == "reserved")
  }

  // QEMU's virt with two shared-dma-pools, the first of them linux,cma-default.
  @Test func `the device tree names the default region`() throws {
    let machine = try TemporaryDirectory()
    let names = ["default_cma_region", "linux,cma", "main@50000000"]
    try machine.directory("dev/dma_heap")
    for name in names { try machine.file("dev/dma_heap/\(name)") }
    for (region, pages) in zip(names.dropFirst(), [32, 64]) {
      try machine.directory("sys/kernel/mm/cma/\(region)")
      try machine.file("sys/kernel/mm/cma/\(region)/total_pages", "\(pages)\n")
      try machine.directory("proc/device-tree/reserved-memory/\(region)")
    }
    try machine.file("proc/meminfo", "CmaTotal: \(96 * pageSize >> 10) kB\n")
    try machine.file("proc/device-tree/reserved-memory/main@50000000/linux,cma-default")
    let catalog = HeapCatalog(root: machine.path)
    #expect(catalog.heap("default_cma_region")?.capacity == 64 * pageSize)
    #expect(catalog.heap("default_cma_region")?.region == "main@50000000")
    #expect(catalog.duplicates == ["main@50000000": "default_cma_region"])
    #expect(catalog.names(of: .contiguous) == ["default_cma_region", "linux,cma"])
  }

  /// As on Renesas' boards, whose kernels tell of no regions in sysfs.
  @Test func `the device tree tells which heap is contiguous where sysfs does not`() throws {
    let machine = try TemporaryDirectory()
    try machine.directory("dev/dma_heap")
    for name in ["linux,cma@58000000", "carveout@60000000", "vision"] {
      try machine.file("dev/dma_heap/\(name)")
    }
    let nodes = "proc/device-tree/reserved-memory"
    for name in ["linux,cma@58000000", "carveout@60000000"] {
      try machine.directory("\(nodes)/\(name)")
    }
    try machine.file("\(nodes)/linux,cma@58000000/reusable")
    let catalog = HeapCatalog(root: machine.path)
    #expect(catalog.names(of: .contiguous) == ["linux,cma@58000000"])
    #expect(catalog.heap("carveout@60000000")?.role == .other)
  }

  @Test func `what is free may not be told`() throws {
    let machine = try HeapNodes(["reserved"])
    try machine.addRegion("reserved", pages: 64)
    let heap = try #require(machine.catalog.heap("reserved"))
    #expect(heap.capacity == 64 * pageSize)
    #expect(heap.free == nil)
  }

  // 6.12 has only counters there.
  @Test func `a kernel without sizes tells all regions together`() throws {
    let machine = try HeapNodes(["reserved"])
    try machine.addRegion("reserved")
    try machine.regions.file("reserved/alloc_pages_success", "7\n")
    let heap = try #require(machine.catalog.heap("reserved"))
    #expect(heap.role == .contiguous)
    #expect(try heap.capacity == Self.together())
    #expect(heap.free == nil)
  }

  @Test func `of two unknown regions none is taken for the default one`() throws {
    let machine = try HeapNodes(["default_cma_region"])
    try machine.addRegion("one", pages: 1)
    try machine.addRegion("two", pages: 2)
    #expect(try machine.catalog.heap("default_cma_region")?.capacity == Self.together())
  }

  @Test(arguments: ["", "\n", "many\n", "-1\n"])
  func `figures that are no numbers are not told`(_ text: String) throws {
    let machine = try HeapNodes()
    try machine.addRegion("reserved")
    try machine.regions.file("reserved/total_pages", text)
    #expect(CMARegion.read("reserved", in: machine.regions.path) == nil)
  }
}
