import Glibc
import HeapClient
import SystemPackage
import TestSupport
import Testing

@testable import HeapTestKit
@testable import LinuxHeaps

/// Tests/Kernel/guest.sh reserves pages.
@Suite(
  .serialized,
  .enabled(if: HugeHeap.isUsable, "needs udmabuf and huge pages: \(HugePageSize.advice())"))
struct HugeHeapTests {
  /// The size whose pages serve small buffers: the smallest of which some are free.
  private static let page = HugePageSize.all().first { $0.available > 0 }!

  private static var freePages: UInt64 { page.available / page.bytes }

  @Test func `small buffers share a page, which goes back with the last of them`() throws {
    let heap = HugeHeap()
    let before = Self.freePages
    let (page, size) = (Self.page.bytes, Self.page.bytes / 8)
    var vmos: [HeldVMO] = []
    for _ in 0..<8 { vmos.append(HeldVMO(try heap.allocate(.fresh(), size: size))) }
    #expect(Self.freePages == before - 1)
    vmos.append(HeldVMO(try heap.allocate(.fresh(), size: size)))
    #expect(Self.freePages == before - 2)
    for vmo in vmos.dropFirst() { close(vmo.take()!) }
    #expect(eventually { Self.freePages == before - 1 })
    // What a page has left serves no buffer of a whole one.
    let whole = HeldVMO(try heap.allocate(.fresh(), size: page))
    #expect(Self.freePages == before - 2)
    close(try heap.allocate(.fresh(), size: 7 * size))
    close(vmos[0].take()!)
    close(whole.take()!)
    #expect(eventually { heap.liveBufferCount == 0 && Self.freePages == before })
  }

  @Test func `a part that is handed out again is zero, and its neighbours stay`() throws {
    let heap = HugeHeap()
    let before = Self.freePages
    let size = Self.page.bytes / 4
    let first = try heap.allocate(.fresh(), size: size)
    let second = HeldVMO(try heap.allocate(.fresh(), size: size))
    let third = try heap.allocate(.fresh(), size: size)
    try first.fill(1)
    try second.duplicate()!.take()!.fill(2)
    try third.fill(3)
    close(second.take()!)
    #expect(eventually { heap.liveBufferCount == 2 })
    for part in [size / 2, size / 2] {
      let again = try heap.allocate(.fresh(), size: part)
      #expect(try again.isZero)
      try again.fill(4)
      close(try again.slice(offset: 0, byteCount: pageSize))
    }
    let again = try heap.allocate(.fresh(), size: size)
    #expect(try again.isZero)
    #expect(try first.byte(at: Int(size) - 1) == 1)
    #expect(try third.byte(at: 0) == 3)
    #expect(Self.freePages == before - 1)
  }

  /// As of a server that ends while clients hold its buffers.
  @Test(arguments: [true, false])
  func `what is let go while somebody holds it is nobody else's`(_ isHeld: Bool) throws {
    let pages = HugePages(Admission())
    let size = Self.page.bytes / 4
    func make() throws -> any Parent {
      try pages.makeMemory(
        for: BufferRequest(key: .fresh(), size: size, settings: SingleBufferSettings())
      ).parent
    }
    func place(_ parent: (any Parent)?) throws -> UInt64 {
      try #require((parent as? DMABufParent)?.pages?.offset)
    }
    var first: (any Parent)? = try make()
    let neighbour = try make()
    let taken = try place(first)
    var child: SharedFD? = SharedFD(try #require(first).openChild())
    if !isHeld { child = nil }
    first = nil
    #expect(try (place(make()) == taken) == !isHeld)
    withExtendedLifetime((neighbour, child)) {}
  }

  @Test func `pages that others have left are zero`() throws {
    try Self.dirty()
    let heap = HugeHeap()
    for _ in 0..<2 {
      var vmos: [HeldVMO] = []
      for _ in 0..<Self.freePages {
        let vmo = try heap.allocate(.fresh(), size: Self.page.bytes)
        #expect(try vmo.isZero)
        try vmo.fill(0xa5)
        vmos.append(HeldVMO(vmo))
      }
      // Full: refused by the kernel's own count, and nobody is ended.
      let error = try #require(
        refusal { () throws(HeapError) in try heap.allocate(.fresh(), size: Self.page.bytes) })
      #expect(error.code == .noMemory && error.fix?.contains("nr_hugepages") == true)
      vmos = []
      #expect(eventually { heap.liveBufferCount == 0 })
    }
  }

  /// All free pages of the size, by a process that leaves its bytes in them.
  private static func dirty() throws {
    let size = freePages * page.bytes
    let file = try Memfd.create("dirty", size: size, hugePageSize: page.bytes)
    let bytes = unsafe mmap(
      nil, Int(size), PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0)!
    unsafe memset(bytes, 0xa5, Int(size))
    unsafe munmap(bytes, Int(size))
  }

  @Test func `contiguous memory lies in one page, and other memory may have several`() throws {
    let heap = HugeHeap()
    let sizes = HugePageSize.all().filter { $0.available > 0 }
    let size = sizes.last!.bytes + 1
    let error = refusal { () throws(HeapError) in
      try heap.allocate(byteCount: size, contiguous: true)
    }
    #expect(error?.code == .noMemory)
    let list = DMABufHeap(heaps: [HugeHeap.name, UDMABufHeap.name])
    #expect(try list.allocate(.fresh()).heapName == HugeHeap.name)
    let (before, page) = (Self.freePages, Self.page.bytes)
    let several = try list.allocate(.fresh(), size: 2 * page + 1)
    #expect(several.heapName == HugeHeap.name && Self.freePages == before - 3)
    #expect(try several.isZero)
    // What they have left is in none of them alone.
    let other = try list.allocate(.fresh(), size: page / 2)
    #expect(Self.freePages == before - 3 || Self.freePages == before - 4)
    close(other)
    close(several)
    #expect(eventually { list.liveBufferCount == 0 })
    #expect(
      try list.allocate(.fresh(), size: Self.page.total + page).heapName == UDMABufHeap.name)
  }

  @Test func `contiguous memory is of huge pages where no heap has any left`()
    throws
  {
    let catalog = HeapCatalog()
    let heap = DMABufHeap()
    guard let region = catalog.names(of: .contiguous).first else {
      #expect(try heap.allocate(byteCount: pageSize, contiguous: true).heapName == HugeHeap.name)
      return
    }
    #expect(try heap.allocate(byteCount: pageSize, contiguous: true).heapName == region)
    // Before it by configuration.
    let list = DMABufHeap(heaps: [HugeHeap.name, region])
    #expect(try list.allocate(byteCount: pageSize, contiguous: true).heapName == HugeHeap.name)
    let whole = DMABufHeap(heaps: [region])
    var vmos: [HeldVMO] = []
    var size: UInt64 = 16 << 20
    while size >= 64 << 10 {
      do throws(HeapError) {
        vmos.append(HeldVMO(try whole.allocate(byteCount: size, contiguous: true)))
      } catch {
        #expect(error.code == .noMemory)
        size /= 2
      }
    }
    #expect(try heap.allocate(byteCount: 1 << 20, contiguous: true).heapName == HugeHeap.name)
    #expect(vmos.count > 0)
  }

  @Test func `a client of heapd has contiguous memory of it`() throws {
    let daemon = try Daemon(heap: [HugeHeap.name, UDMABufHeap.name])
    let heap = try RemoteHeap(socket: daemon.socket)
    let vmo = try heap.allocate(byteCount: 1 << 20, contiguous: true)
    #expect(vmo.heapName == HugeHeap.name)
    #expect(try vmo.isZero)
    #expect(daemon.log.contains("serving the heaps hugetlb, udmabuf, as asked"), "\(daemon.log)")
  }
}
