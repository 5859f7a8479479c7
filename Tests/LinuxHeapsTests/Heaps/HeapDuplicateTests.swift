import Testing

@testable import LinuxHeaps

@Suite struct HeapDuplicateTests {
  // A 7.3 kernel booted with cma=128M shows both names.
  @Test(arguments: ["reserved", "linux,cma", "default-pool"])
  func `the default region and its own name are one memory`(_ name: String) throws {
    let machine = try HeapNodes(["system", "default_cma_region", name])
    #expect(machine.catalog.duplicates == [name: "default_cma_region"])
    #expect(machine.catalog.names(of: .contiguous) == ["default_cma_region"])
    #expect(machine.catalog.names(of: .system) == ["system"])
  }

  @Test(arguments: [["reserved"], ["linux,cma"], ["default-pool"], ["linux,cma", "reserved"]])
  func `names from before 6.17 are no duplicates by themselves`(_ names: [String]) throws {
    let machine = try HeapNodes(["system"] + names)
    #expect(machine.catalog.duplicates == [:])
    #expect(machine.catalog.names(of: .contiguous) == names)
  }

  @Test func `a single region is the default one, whatever its name`() throws {
    let machine = try HeapNodes(["default_cma_region", "framebuffer@90000000"])
    try machine.addRegion("framebuffer@90000000", pages: 64, available: 64)
    #expect(machine.catalog.duplicates == ["framebuffer@90000000": "default_cma_region"])
    #expect(machine.catalog.names(of: .contiguous) == ["default_cma_region"])
  }

  @Test func `one of several regions is a memory of its own`() throws {
    let machine = try HeapNodes(["default_cma_region", "reserved", "vidmem@4f000000"])
    try machine.addRegion("reserved", pages: 64)
    try machine.addRegion("vidmem@4f000000", pages: 32)
    #expect(machine.catalog.duplicates == ["reserved": "default_cma_region"])
    #expect(machine.catalog.names(of: .contiguous) == ["default_cma_region", "vidmem@4f000000"])
  }

  @Test func `a symbolic link is the memory that it points to`() throws {
    let machine = try HeapNodes(["linux,cma", "system"])
    try machine.nodes.link("vidbuf_cached", to: "linux,cma")
    #expect(machine.catalog.duplicates == ["vidbuf_cached": "linux,cma"])
  }

  @Test func `the preferred of two nodes of one device is the original`() throws {
    let machine = try HeapNodes()
    for name in ["another", "system", "system-uncached"] { try machine.add(name, device: "null") }
    #expect(machine.catalog.duplicates == ["another": "system", "system-uncached": "system"])
  }

  @Test func `each memory is named once for a role`() throws {
    let machine = try HeapNodes()
    for name in ["linux,cma", "reserved"] { try machine.add(name, device: "null") }
    #expect(machine.catalog.duplicates == ["reserved": "linux,cma"])
    #expect(machine.catalog.names(of: .contiguous) == ["linux,cma"])
  }

  // st_rdev means something for devices alone (stat(2)); of any other file it is 0.
  @Test func `files that are no devices are not one memory`() throws {
    let machine = try HeapNodes()
    for name in ["linux,cma", "system", "vidmem"] { try machine.nodes.file(name) }
    #expect(machine.catalog.duplicates == [:])
    try machine.nodes.file("default_cma_region")
    try machine.nodes.file("reserved")
    #expect(
      machine.catalog.duplicates
        == ["linux,cma": "default_cma_region", "reserved": "default_cma_region"])
  }
}
