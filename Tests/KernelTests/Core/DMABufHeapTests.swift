import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

private let catalog = HeapCatalog()
private let contiguous = catalog.names(of: .contiguous).first

/// What a request for a kind of memory gets, on the heaps of a real kernel.
@Suite(.serialized, .enabled(if: !catalog.heaps().isEmpty, "needs /dev/dma_heap"))
struct DMABufHeapTests {
  private static let secure = SingleBufferSettings(
    bufferSettings: BufferMemorySettings(isSecure: true))

  private func allocate(
    _ size: UInt64, _ settings: SingleBufferSettings = SingleBufferSettings(), of heaps: [String]?
  ) throws(HeapError) -> VMO {
    try DMABufHeap(heaps: heaps).allocateVmo(
      size: size, settings: settings, bufferCollectionID: 1, bufferIndex: 1)
  }

  private func refusal(
    _ size: UInt64, _ settings: SingleBufferSettings = SingleBufferSettings(), of heaps: [String]?
  ) -> HeapError? {
    do throws(HeapError) {
      _ = try allocate(size, settings, of: heaps)
      return nil
    } catch {
      return error
    }
  }

  @Test func `the system heap serves what is not asked to be contiguous`() throws {
    #expect(try allocate(pageSize, of: nil).heapName == "system")
  }

  /// They belong to the open file, which is the parent's, too, and are told before its count.
  @Test(arguments: [1, 20, 2_000])
  func `locks that a holder has set keep no buffer`(_ count: Int) throws {
    let heap = DMABufHeap()
    let vmo = try heap.allocate(byteCount: pageSize)
    try vmo.withDescriptor { number in try FileLocks.openFile.set(count, on: number) }
    close(vmo)
    #expect(eventually { heap.liveBufferCount == 0 })
  }

  @Test func `the next heap serves when one is absent`() throws {
    #expect(try allocate(pageSize, of: ["none,such@0", "system"]).heapName == "system")
  }

  @Test(arguments: ["", ".", "..", "../null", "a/b"])
  func `what is no name of a node is no heap`(_ name: String) {
    #expect(refusal(pageSize, of: [name])?.code == .notFound)
  }

  @Test func `contiguous memory is never replaced by other memory`() throws {
    let error = try #require(refusal(pageSize, .contiguous, of: ["system"]))
    #expect(error.code == .notSupported)
    #expect(error.cause == "no contiguous heap: none of the heaps given is: system")
    let fix = contiguous.map { "use a contiguous heap: \($0)" } ?? "use a kernel with "
    #expect(error.fix?.hasPrefix(fix) == true)
  }

  private static func named(_ heap: String, isContiguous: Bool? = nil) -> SingleBufferSettings {
    SingleBufferSettings(
      bufferSettings: BufferMemorySettings(
        isPhysicallyContiguous: isContiguous,
        heap: HeapIdentifier(heapType: "/dev/dma_heap/\(heap)")))
  }

  @Test(arguments: catalog.heaps().filter(\.isUsable).map(\.name))
  func `a request that names its heap is served by that`(_ name: String) throws {
    for heaps in [nil, ["system", name]] {
      #expect(try allocate(pageSize, Self.named(name), of: heaps).heapName == name)
    }
  }

  @Test func `a heap that does not serve here is not found`() throws {
    for name in ["none,such@0", "../null", "udmabuf"] {
      let error = try #require(refusal(pageSize, Self.named(name), of: nil))
      #expect(error.code == .notFound)
      #expect("\(error)".contains("(/dev/dma_heap/\(name)): "))
    }
    #expect(refusal(pageSize, Self.named(""), of: nil)?.code == .notFound)
    #expect(refusal(pageSize, Self.named("system", isContiguous: true), of: nil)?.code == .notFound)
    guard let contiguous else { return }
    #expect(refusal(pageSize, Self.named(contiguous), of: ["system"])?.code == .notFound)
    #expect(
      try allocate(pageSize, Self.named(contiguous, isContiguous: true), of: nil).heapName
        == contiguous)
  }

  @Test func `secure memory is refused where there is none`() {
    #expect(refusal(pageSize, Self.secure, of: nil)?.code == .notSupported)
    #expect(refusal(pageSize, Self.secure, of: ["system"])?.code == .notSupported)
  }

  @Test func `1 TiB is refused before the kernel is asked`() throws {
    let error = try #require(refusal(1 << 40, of: nil))
    #expect(error.code == .noMemory)
    #expect(error.errno == nil)
    #expect(error.cause.contains("are available, less a floor of"))
  }

  @Test func `a machine without a contiguous heap says so, and one with it serves`() throws {
    guard let contiguous else {
      if HugeHeap.isUsable { return }  // HugeHeapTests
      #expect(refusal(pageSize, .contiguous, of: nil)?.code == .notSupported)
      return
    }
    #expect(try allocate(pageSize, .contiguous, of: nil).heapName == contiguous)
  }

  @Test func `the next heap serves when one is full, and contiguous memory stays contiguous`()
    throws
  {
    // Where there is no region, the heap that cannot serve is the one that is not there.
    let small = contiguous ?? "default_cma_region"
    let region = catalog.region(of: small)?.total ?? 64 << 20
    #expect(try allocate(2 * region, of: [small, "system"]).heapName == "system")
    guard contiguous != nil else { return }
    let error = try #require(refusal(2 * region, .contiguous, of: [small, "system"]))
    #expect(error.code == .noMemory)

    // Full rather than too small: the kernel, or the region's figures, refuse.
    let most = try DMABufHeap(heaps: [small]).allocateVmo(
      size: region / 2, settings: .contiguous, bufferCollectionID: 1, bufferIndex: 1)
    let rest = region / 2 + region / 4
    #expect(refusal(rest, .contiguous, of: [small])?.code == .noMemory)
    #expect(try allocate(rest, of: [small, "system"]).heapName == "system")
    #expect(most.heapName == small)
  }

  @Test func `a budget holds for all heaps that share it`() throws {
    let admission = Admission(budget: 3 * pageSize)
    let heap = DMABufHeap(heaps: ["system"], admission: admission)
    let vmo = try heap.allocateVmo(
      size: 2 * pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
    var code: HeapError.Code?
    do throws(HeapError) {
      _ = try MemfdHeap(admission: admission).allocateVmo(
        size: 2 * pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
    } catch {
      code = error.code
    }
    #expect(code == .noMemory)
    #expect(vmo.byteCount == 2 * pageSize)
  }
}
