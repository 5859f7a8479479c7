import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct MappingTests {
  @Test func `new memory is zero`() throws {
    let vmo = try MemfdHeap().allocate(.fresh(), size: 2 * pageSize)
    let mapping = try vmo.mapReadOnly()
    #expect(mapping.byteCount == Int(2 * pageSize))
    for offset in stride(from: 0, to: mapping.byteCount, by: 64) {
      #expect(try mapping.peek(at: offset) == 0)
    }
  }

  @Test func `what one mapping writes another reads`() throws {
    let vmo = try MemfdHeap().allocate(.fresh())
    let one = try vmo.map()
    let other = try vmo.mapReadOnly()
    for offset in [0, 1, Int(pageSize) - 1] {
      try one.poke(UInt8(truncatingIfNeeded: offset ^ 0xa5), at: offset)
      #expect(try other.peek(at: offset) == UInt8(truncatingIfNeeded: offset ^ 0xa5))
    }
  }

  @Test func `a slice maps its own range`() throws {
    let vmo = try MemfdHeap().allocate(.fresh(), size: 8 * pageSize)
    let slice = try vmo.slice(offset: 2 * pageSize, byteCount: 4 * pageSize)
    let part = try slice.slice(offset: pageSize, byteCount: pageSize)
    let whole = try vmo.map()
    let mapped = try part.map()
    #expect(mapped.byteCount == Int(pageSize))
    try mapped.poke(0x5a, at: 7)
    #expect(try whole.peek(at: Int(3 * pageSize) + 7) == 0x5a)
    try whole.poke(0x3c, at: Int(4 * pageSize) - 1)
    #expect(try mapped.peek(at: Int(pageSize) - 1) == 0x3c)
  }

  @Test func `a mapping of an adopted descriptor shows the same bytes`() throws {
    let vmo = try MemfdHeap().allocate(.fresh())
    let number = vmo.withDescriptor { $0 }
    let adopted = try VMO(
      adopting: OwnedFD(adopting: call { fcntl(number, F_DUPFD_CLOEXEC, 0) }))
    let one = try vmo.map()
    let other = try adopted.mapReadOnly()
    try one.poke(0x77, at: 100)
    #expect(try other.peek(at: 100) == 0x77)
  }

  @Test func `a descriptor open for reading maps for reading alone`() throws {
    let memfd = try Memfd.create("read-only", size: pageSize)
    let vmo = try VMO(adopting: memfd.reopened(O_RDONLY))
    let error = refusal { () throws(HeapError) in try vmo.map() }
    #expect(error?.code == .accessDenied)
    #expect(try vmo.mapReadOnly().peek(at: 0) == 0)
  }

  // The kernel ends a process that writes there with SIGSEGV.
  @Test func `a read-only mapping takes no write`() async {
    await #expect(processExitsWith: .signal(SIGSEGV)) {
      // No core file of what is meant to happen.
      var none = rlimit(rlim_cur: 0, rlim_max: 0)
      unsafe setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
      signal(SIGSEGV, SIG_DFL)
      let vmo = try MemfdHeap().allocate(.fresh())
      let mapping = try vmo.mapReadOnly()
      unsafe mapping.bytes[0] = 1
    }
  }

  @Test func `access can be ended by name`() throws {
    let vmo = try MemfdHeap().allocate(.fresh())
    let mapping = try vmo.map()
    try mapping.writeAccess().end()
    try mapping.readAccess().end()
  }

  @Test func `a mapping outlives every descriptor, and the buffer outlives both`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let vmo = try heap.allocate(key)
    let mapping = try vmo.map()
    try mapping.poke(0x11, at: 0)
    close(vmo)
    // The reclaimer has looked at both when the second is gone.
    let other = BufferKey.fresh()
    try await heap.delete(other, try heap.allocate(other))
    // The parent alone.
    #expect(openDescriptorCount(of: key) == 1)
    #expect(heap.buffers.count == 1)
    #expect(try mapping.peek(at: 0) == 0x11)
    try mapping.poke(0x22, at: 1)
    #expect(try mapping.peek(at: 1) == 0x22)
    _ = consume mapping
    #expect(try await eventuallyHolds { heap.buffers.count == 0 })
    #expect(openDescriptorCount(of: key) == 0)
  }
}
