import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct HeapCatalogTests {
  @Test func `no directory, no heaps`() {
    let catalog = HeapCatalog(
      directory: "/nonexistent/dma_heap", regionDirectory: "/nonexistent/cma")
    #expect(catalog.heaps().isEmpty)
    #expect(catalog.names(of: .system) == [])
    #expect(catalog.role(of: "system") == .system)
    #expect(catalog.role(of: "reserved") == .contiguous)
  }

  @Test func `an empty directory has no heaps`() throws {
    let machine = try HeapNodes()
    #expect(machine.catalog.heaps().isEmpty)
    #expect(machine.catalog.names(of: .contiguous) == [])
  }

  @Test(
    arguments: [
      ("system", .system), ("default_cma_region", .contiguous), ("linux,cma", .contiguous),
      ("reserved", .contiguous), ("default-pool", .contiguous),
      ("protected,secure-video", .protected), ("protected,trusted-ui", .protected),
      ("protected,secure-video-record", .protected), ("system_cc_shared", .other),
      ("cma", .contiguous), ("cma-uncached", .contiguous), ("linux,cma-uncached", .contiguous),
      ("reserved-uncached", .contiguous), ("system-dma32", .system), ("system-uncached", .system),
      ("system-uncached-dma32", .system), ("vidbuf_cached", .other),
    ] as [(String, HeapRole)])
  func `a known name has a role`(_ name: String, _ role: HeapRole) throws {
    let machine = try HeapNodes([name])
    let heaps = machine.catalog.heaps()
    #expect(heaps.map(\.name) == [name])
    #expect(heaps.map(\.role) == [role])
    #expect(heaps[0].path.string == "\(machine.nodes.path)/\(name)")
    #expect(heaps[0].kernels != nil)
    #expect(heaps[0].duplicateOf == nil)
    #expect(heaps[0].node?.isUsable == true)
    #expect(machine.catalog.role(of: name) == role)
    #expect(machine.catalog.names(of: role) == [name])
  }

  @Test(arguments: [
    (["linux,cma": "/dev/zero", "cma": "/dev/full"], "use a contiguous heap: linux,cma cma"),
    ([:], "use a kernel with CONFIG_DMABUF_HEAPS_CMA and a region, or name a vendor's heap"),
  ])
  func `who names a heap without contiguous memory is told of one that has it`(
    _ others: [String: String], _ fix: String
  ) throws {
    let machine = try HeapNodes(["system"])
    for (name, device) in others { try machine.nodes.link(name, to: device) }
    let heap = DMABufHeap(heaps: ["system"], catalog: machine.catalog)
    let error = #expect(throws: HeapError.self) {
      _ = try heap.allocate(byteCount: 1, contiguous: true)
    }
    #expect(error?.code == .notSupported)
    #expect(error?.fix?.hasPrefix(fix) == true, "\(error?.fix ?? "")")
  }

  @Test(arguments: [
    ("linux,cma", "ask for contiguous memory, which this machine has: linux,cma"),
    ("carveout-vision", "name the heap that is to serve: carveout-vision"),
  ])
  func `who finds no system heap is told of the heaps that are there`(
    _ name: String, _ fix: String
  ) throws {
    let machine = try HeapNodes([name])
    let heap = DMABufHeap(catalog: machine.catalog)
    let error = #expect(throws: HeapError.self) { _ = try heap.allocate(byteCount: 1) }
    #expect(error?.code == .notSupported)
    #expect(error?.fix == fix)
  }

  @Test(arguments: [
    "CMA", "cma0", "cma-cached", "my-cma-heap", "linux,cma2", "linux", "system2", "subsystem",
    "System", "SYSTEM",
    "reserved-memory", "not_reserved", "default-pool@0", "default_cma_region_2", "noncontiguous",
    "Contiguous", "unprotected-video", "contiguous0",
  ])
  func `no part of a name means anything but the words of the naming rules`(_ name: String) throws {
    let machine = try HeapNodes([name])
    let heap = try #require(machine.catalog.heap(name))
    #expect(heap.role == .other)
    #expect(heap.kernels == nil)
    #expect(heap.capacity == nil)
    #expect(machine.catalog.names(of: .system) == [])
    #expect(machine.catalog.names(of: .contiguous) == [])
    #expect(machine.catalog.names(of: .other) == [name])
  }

  @Test(
    arguments: [
      ("memory@42000000-contiguous", .contiguous), ("system,contiguous", .contiguous),
      ("video_contiguous_cacheable", .contiguous), ("protected", .protected),
      ("protected,other", .protected), ("vpu-non-contiguous", .other), ("not_protected", .other),
      ("memory@42000000-contiguous-protected", .protected),
    ] as [(String, HeapRole)])
  func `the words of the naming rules tell what table and regions do not`(
    _ name: String, _ role: HeapRole
  ) throws {
    let machine = try HeapNodes([name])
    // The only one, and yet another memory.
    try machine.addRegion("reserved", pages: 256, available: 16)
    let heap = try #require(machine.catalog.heap(name))
    #expect(heap.role == role)
    #expect(heap.kernels == nil)
    #expect(heap.capacity == nil && heap.free == nil && heap.region == nil)
    #expect(machine.catalog.names(of: role) == [name])
    #expect(machine.catalog.region(of: name) == nil)
  }

  @Test func `a region of a name with such words is known as one`() throws {
    let name = "memory@42000000-contiguous"
    let machine = try HeapNodes([name])
    try machine.addRegion(name, pages: 256, available: 16)
    #expect(machine.catalog.heap(name)?.capacity == 256 * pageSize)
    #expect(machine.catalog.heap(name)?.free == 16 * pageSize)
  }

  @Test(arguments: ["vidmem@4f000000", "pool,a,b@80000000,2", "@", ",", "a b", "b\u{e9}"])
  func `a name is taken whole`(_ name: String) throws {
    let machine = try HeapNodes([name])
    try machine.addRegion(name, pages: 256, available: 16)
    let heap = try #require(machine.catalog.heap(name))
    #expect(heap.role == .contiguous)
    #expect(heap.path.string == "\(machine.nodes.path)/\(name)")
    #expect(heap.capacity == 256 * pageSize)
    #expect(heap.free == 16 * pageSize)
  }

  @Test(arguments: ["vidmem", "vidmem@4f000000,pool", "idmem@4f000000", "Vidmem@4f000000"])
  func `a region of another name tells nothing of a heap`(_ region: String) throws {
    let machine = try HeapNodes(["vidmem@4f000000"])
    try machine.addRegion(region, pages: 256, available: 16)
    #expect(machine.catalog.heap("vidmem@4f000000")?.role == .other)
  }

  @Test func `a region makes no protected heap contiguous`() throws {
    let machine = try HeapNodes(["protected,secure-video"])
    try machine.addRegion("protected,secure-video", pages: 256)
    #expect(machine.catalog.heap("protected,secure-video")?.role == .protected)
  }

  @Test func `known names come first, the others by alphabet`() throws {
    let machine = try HeapNodes(["zebra", "reserved", "alpha", "linux,cma", "system"])
    #expect(
      machine.catalog.heaps().map(\.name)
        == ["system", "linux,cma", "reserved", "alpha", "zebra"])
    #expect(machine.catalog.names(of: .contiguous) == ["linux,cma", "reserved"])
    #expect(machine.catalog.names(of: .other) == ["alpha", "zebra"])
  }

  // rockchip-linux/mpp#626, nxp-imx: the uncached kin are slow for the processor.
  @Test func `of a vendor's heaps the cached ones come first`() throws {
    let rockchip = try HeapNodes([
      "cma", "cma-uncached", "system", "system-dma32", "system-uncached", "system-uncached-dma32",
    ])
    #expect(rockchip.catalog.names(of: .contiguous) == ["cma", "cma-uncached"])
    #expect(
      rockchip.catalog.names(of: .system)
        == ["system", "system-dma32", "system-uncached", "system-uncached-dma32"])
    #expect(rockchip.catalog.names(of: .other) == [])
    let imx = try HeapNodes(["linux,cma-uncached", "linux,cma", "system"])
    #expect(imx.catalog.names(of: .contiguous) == ["linux,cma", "linux,cma-uncached"])
  }

  // From 7.0 on heaps can be modules.
  @Test func `a heap that appears later is seen`() throws {
    let machine = try HeapNodes(["system"])
    let catalog = machine.catalog
    #expect(catalog.heaps().map(\.name) == ["system"])
    try machine.add("vidmem", device: "zero")
    #expect(catalog.heap("vidmem")?.role == .other)
    try machine.addRegion("vidmem", pages: 1)
    #expect(catalog.heap("vidmem")?.role == .contiguous)
    #expect(catalog.names(of: .contiguous) == ["vidmem"])
  }

  @Test func `a node that went away has no status`() throws {
    let machine = try HeapNodes()
    try machine.nodes.link("system", to: "/nonexistent/node")
    let heap = try #require(machine.catalog.heap("system"))
    #expect(heap.node == nil)
    #expect(heap.role == .system)
    #expect(heap.duplicateOf == nil)
  }
}
