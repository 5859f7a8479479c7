import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct OpaqueVMOTests {
  private static let size = 16 * mebibyte

  private static func vmo(_ heap: OpaqueHeap = OpaqueHeap()) throws -> VMO {
    try heap.allocate(.fresh(), size: size)
  }

  /// The kernel's answer to a call that has to fail; nil where it did not.
  private static func failure<Result: SignedInteger>(_ body: () -> Result) -> Errno? {
    do {
      _ = try call(body)
      return nil
    } catch { return error }
  }

  @Test func `it has a size, an identity and a kind`() throws {
    let vmo = try Self.vmo()
    #expect(vmo.kind == .opaque)
    #expect(vmo.byteCount == Self.size)
    #expect(vmo.heapName == OpaqueHeap.name)
    let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
    #expect(slice.identity == vmo.identity)
    #expect(slice.kind == .opaque)
  }

  @Test func `without a budget it takes nothing of anything`() throws {
    let admission = Admission()
    let heap = OpaqueHeap(admission: admission)
    let one = try heap.allocate(.fresh(), size: 1 << 62)
    let other = try heap.allocate(.fresh(), size: 1 << 62)
    #expect(one.byteCount + other.byteCount == 1 << 63)
    #expect(admission.liveBytes == 0)
  }

  @Test func `it cannot be mapped`() throws {
    let vmo = try Self.vmo()
    let errors = [
      refusal { () throws(HeapError) in try vmo.map() },
      refusal { () throws(HeapError) in try vmo.mapReadOnly() },
    ]
    #expect(errors.map { $0?.code } == [.notSupported, .notSupported])
    #expect(errors.allSatisfy { $0?.operation.hasSuffix(" of an opaque vmo") == true })
  }

  @Test(arguments: [PROT_NONE, PROT_READ, PROT_WRITE, PROT_READ | PROT_WRITE, PROT_EXEC])
  func `the kernel refuses to map its descriptor`(_ protection: CInt) throws {
    let vmo = try Self.vmo()
    for flags in [MAP_SHARED, MAP_PRIVATE] {
      let isRefused = vmo.withDescriptor { number in
        unsafe mmap(nil, Int(pageSize), protection, flags, number, 0) == MAP_FAILED
      }
      #expect(isRefused)
    }
  }

  @Test func `the kernel refuses to read, write and change it`() throws {
    let vmo = try Self.vmo()
    let answers = vmo.withDescriptor { number -> [Errno?] in
      var byte: UInt8 = 0
      return [
        Self.failure { unsafe pread(number, &byte, 1, 0) },
        Self.failure { unsafe read(number, &byte, 1) },
        Self.failure { unsafe pwrite(number, &byte, 1, 0) },
        Self.failure { unsafe write(number, &byte, 1) },
        Self.failure { ftruncate(number, 0) },
        Self.failure { ftruncate(number, off_t(2 * Self.size)) },
      ]
    }
    // Not open for reading; sealed against the rest.
    #expect(
      answers == [
        .badFileDescriptor, .badFileDescriptor, .notPermitted, .notPermitted, .notPermitted,
        .notPermitted,
      ])
  }

  private static func status(_ vmo: borrowing VMO) -> stat {
    vmo.withDescriptor { number in
      var status = stat()
      unsafe fstat(number, &status)
      return status
    }
  }

  @Test func `no access allocates a block`() throws {
    let vmo = try Self.vmo()
    vmo.withDescriptor { number in
      var byte: UInt8 = 1
      unsafe pwrite(number, &byte, 1, 0)
      unsafe mmap(nil, Int(pageSize), PROT_READ | PROT_WRITE, MAP_SHARED, number, 0)
      unsafe pread(number, &byte, 1, 0)
    }
    let status = Self.status(vmo)
    #expect(UInt64(status.st_size) == Self.size)
    #expect(status.st_blocks == 0)
  }

  // An exit test, because root may open anything and has to become somebody else first.
  @Test func `its holder cannot reopen it for reading`() async {
    await #expect(processExitsWith: .success) {
      if geteuid() == 0 { #expect(setuid(65_534) == 0) }
      let descriptor = try OpaqueVMOTests.vmo().releaseDescriptor()
      var error: Errno?
      do throws(Errno) { _ = try descriptor.reopened(O_RDONLY) } catch let caught { error = caught }
      #expect(error == .permissionDenied)
    }
  }

  @Test func `a holder's descriptor is known again`() throws {
    let heap = OpaqueHeap()
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key)
    let adopted = try VMO(adopting: vmo.releaseDescriptor())
    #expect(adopted.kind == .opaque)
    #expect(try heap.info(of: adopted) == key)
  }

  @Test func `its end is noticed`() async throws {
    let heap = OpaqueHeap()
    let key = BufferKey.fresh()
    let descriptor = try heap.allocate(key).releaseDescriptor()
    #expect(heap.buffers.count == 1)
    _ = consume descriptor
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
    try await heap.delete(key, try heap.allocate(key))
    #expect(heap.buffers.count == 0)
  }

  @Test func `it can be larger than the machine`() throws {
    let largest = (UInt64(1) << 63) - pageSize
    let vmo = try OpaqueHeap().allocate(.fresh(), size: largest)
    #expect(vmo.byteCount == largest)
  }

  @Test func `more bytes than 64 bits count are no trap`() async {
    await #expect(processExitsWith: .success) {
      let heap = OpaqueHeap()
      let largest = (UInt64(1) << 63) - pageSize
      let one = try heap.allocate(.fresh(), size: largest)
      let two = try heap.allocate(.fresh(), size: largest)
      let error = refusal { () throws(HeapError) in try heap.allocate(.fresh(), size: largest) }
      precondition(error == nil || error?.code == .noMemory)
      precondition(one.byteCount == two.byteCount)
    }
  }
}
