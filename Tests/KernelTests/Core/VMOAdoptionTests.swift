import CLinuxHeaps
import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct VMOAdoptionTests {
  @Test func `a descriptor that is not open is a bad handle`() {
    // Far above any limit on open files, so nobody gets the number meanwhile.
    let error = refusal { () throws(HeapError) in try VMO(adopting: OwnedFD(adopting: .max)) }
    #expect(error?.code == .badHandle)
    #expect(error?.errno == .badFileDescriptor)
  }

  @Test func `a pipe is of the wrong type`() async throws {
    var pipe = try Pipe()
    let writing = SharedBox(pipe.takeWritingEnd())
    let error = refusal { () throws(HeapError) in try VMO(adopting: writing.take()) }
    #expect(error?.code == .wrongType)
    #expect(error?.cause.hasPrefix("pipe:[") == true)
    // Closed, although it was refused.
    let isClosed = try await eventuallyHolds { pipe.isHungUp }
    #expect(isClosed)
  }

  @Test(arguments: ["/proc/self/status", "/proc/self/exe", "/dev/null", "/proc/self", "/"])
  func `a file, a device and a directory are of the wrong type`(_ path: String) throws {
    let file = SharedBox(try OwnedFD.open(path, O_RDONLY))
    let error = refusal { () throws(HeapError) in try VMO(adopting: file.take()) }
    #expect(error?.code == .wrongType)
  }

  @Test func `a memfd of no size is refused`() throws {
    let memfd = SharedBox(try Memfd.create("empty", size: 0))
    let error = refusal { () throws(HeapError) in try VMO(adopting: memfd.take()) }
    #expect(error?.code == .invalidArgs)
  }

  @Test func `a memfd that its other holders can make shorter is refused`() throws {
    let number = unsafe CLinuxHeaps_memfd_create(
      "unsealed", CLinuxHeaps_MFD_CLOEXEC | CLinuxHeaps_MFD_ALLOW_SEALING)
    ftruncate(number, off_t(pageSize))
    let memfd = SharedBox(OwnedFD(adopting: number))
    let error = refusal { () throws(HeapError) in try VMO(adopting: memfd.take()) }
    #expect(error?.code == .invalidArgs)
    #expect(error?.cause.hasPrefix("the file is not sealed against shrinking") == true)
    #expect(error?.fix?.contains("add F_SEAL_SHRINK (fcntl(2))") == true)
  }

  @Test(.enabled(if: !HugePageSize.all().isEmpty, "needs huge pages"))
  func `a memfd of huge pages is refused`() throws {
    let size = try #require(HugePageSize.all().first).bytes
    let memfd = SharedBox(try Memfd.create("huge", size: size, hugePageSize: size))
    let error = refusal { () throws(HeapError) in try VMO(adopting: memfd.take()) }
    #expect(error?.code == .invalidArgs)
    #expect(error?.cause.hasPrefix("the file has huge pages") == true)
  }

  // None of them can be sealed.
  @Test func `a file of a tmpfs, and a memfd that takes no seals, are refused`() throws {
    let path = "/dev/shm/vmo-adoption.\(getpid())"
    let file = try OwnedFD(
      adopting: call { unsafe open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600) })
    unsafe unlink(path)
    let memfd = try OwnedFD(
      adopting: call { unsafe CLinuxHeaps_memfd_create("sealless", CLinuxHeaps_MFD_CLOEXEC) })
    for descriptor in [file.rawValue, memfd.rawValue] {
      ftruncate(descriptor, off_t(pageSize))
      let copy = SharedBox(
        try OwnedFD(adopting: call { fcntl(descriptor, F_DUPFD_CLOEXEC, 0) }))
      let error = refusal { () throws(HeapError) in try VMO(adopting: copy.take()) }
      #expect(error?.code == .invalidArgs)
      #expect(error?.cause.hasPrefix("the file is not sealed against shrinking") == true)
    }
    withExtendedLifetime(file.rawValue + memfd.rawValue) {}
  }

  @Test(
    arguments: [
      (1, pageSize), (pageSize, pageSize), (3 * pageSize - 1, 3 * pageSize),
    ] as [(UInt64, UInt64)])
  func `a memfd from elsewhere is a vmo of whole pages`(
    _ size: UInt64, _ byteCount: UInt64
  ) throws {
    let memfd = try Memfd.create("elsewhere", size: size)
    let identity = VMOIdentity(try memfd.status())
    let vmo = try VMO(adopting: memfd)
    #expect(vmo.kind == .memfd)
    #expect(vmo.offset == 0)
    #expect(vmo.byteCount == byteCount)
    #expect(vmo.identity == identity)
    #expect(vmo.heapName == nil)
    #expect(try vmo.name == "elsewhere")
    #expect(try vmo.referenceCount == nil)
    #expect(try vmo.exporterName == nil)
  }

  @Test func `a memfd sealed against every access is opaque`() throws {
    let vmo = try VMO(adopting: Memfd.create("sealed", size: pageSize, isOpaque: true))
    #expect(vmo.kind == .opaque)
  }

  @Test func `a memfd sealed against writing is read`() throws {
    let file = try ClientMemory.make(seals: CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_WRITE) {
      (number, size) throws(Errno) in
      let bytes = [UInt8](repeating: 0x5a, count: Int(size))
      _ = try call { unsafe pwrite(number, bytes, bytes.count, 0) }
    }
    let vmo = try VMO(adopting: file.fd.duplicate())
    #expect(vmo.kind == .memfd)
    #expect(try vmo.withBytes { $0[0] == 0x5a && $0[$0.count - 1] == 0x5a })
    let error = refusal { () throws(HeapError) in _ = try vmo.map() }
    #expect(error?.errno == .notPermitted)
  }

  @Test func `a vmo from elsewhere is of no heap's`() throws {
    let heap = MemfdHeap()
    let vmo = try VMO(adopting: Memfd.create("elsewhere", size: pageSize))
    let error = refusal { () throws(HeapError) in try heap.info(of: vmo) }
    #expect(error?.code == .notFound)
  }

  @Test func `a live buffer's descriptor is known again`() throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh(.max)
    let vmo = try heap.allocate(key, size: 2 * pageSize)
    let number = vmo.withDescriptor { $0 }
    let dup = OwnedFD(adopting: try call { fcntl(number, F_DUPFD_CLOEXEC, 0) })
    let adopted = try VMO(adopting: dup)
    #expect(adopted.identity == vmo.identity)
    #expect(adopted.byteCount == 2 * pageSize)
    #expect(try heap.info(of: adopted) == key)
    #expect(try heap.info(of: vmo) == key)
  }

  @Test func `a buffer lives on in an adopted descriptor, and ends with it`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key)
    let released = vmo.releaseDescriptor()
    let adopted = try VMO(adopting: released)
    #expect(try heap.info(of: adopted) == key)
    #expect(heap.buffers.count == 1)
    close(adopted)
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
  }

  @Test func `a released descriptor is a holder like one in another process`() async throws {
    let heap = MemfdHeap()
    let diary = Diary()
    let descriptor = try heap.allocate(.fresh(), cleanup: [{ diary.write("gone") }])
      .releaseDescriptor()
    // The reclaimer has looked at both when the second is gone.
    let other = BufferKey.fresh()
    try await heap.delete(other, try heap.allocate(other))
    #expect(diary.entries == [])
    _ = consume descriptor
    #expect(try await eventuallyHolds { diary.entries == ["gone"] })
  }
}
