import Glibc
import HeapClient
import TestSupport
import Testing

@testable import LinuxHeaps

/// What a newcomer writes: allocate, map, write, read and delete in one function.
@Suite struct ByteAccessTests {
  @Test(.timeLimit(.minutes(1)))
  func `bytes are written and read in calls that leave nothing mapped`() async throws {
    let heap = MemfdHeap()
    let vmo = try heap.allocate(byteCount: 3 * pageSize)
    try vmo.withMutableBytes { bytes in
      #expect(bytes.count == Int(3 * pageSize))
      bytes[0] = 42
      bytes[bytes.count - 1] = 43
    }
    let (first, last) = try vmo.withBytes { bytes in (bytes[0], bytes[bytes.count - 1]) }
    #expect(first == 42 && last == 43)
    #expect(try vmo.copyBytes(0..<2) == [42, 0])
    #expect(try vmo.copyBytes(Int(3 * pageSize) - 1..<Int(3 * pageSize)) == [43])
    let slice = try vmo.slice(offset: 2 * pageSize, byteCount: pageSize)
    #expect(try slice.copyBytes(Int(pageSize) - 1..<Int(pageSize)) == [43])
    close(slice)
    try await heap.delete(vmo)
    #expect(heap.liveBufferCount == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `what a body throws comes out, and nothing stays mapped`() async throws {
    struct Stop: Error {}
    let heap = MemfdHeap()
    let vmo = try heap.allocate(byteCount: 1)
    #expect(throws: Stop.self) { try vmo.withBytes { _ in throw Stop() } }
    #expect(throws: Stop.self) { try vmo.withMutableBytes { _ in throw Stop() } }
    try await heap.delete(vmo)
  }

  @Test func `a range outside of the buffer is refused`() throws {
    let vmo = try MemfdHeap().allocate(byteCount: 1)
    let mapping = try vmo.map()
    let size = Int(pageSize)
    for range in [-1..<1, 0..<size + 1, size + 1..<size + 1] {
      #expect(refusal { () throws(HeapError) in _ = try vmo.copyBytes(range) }?.code == .outOfRange)
      let error = refusal { () throws(HeapError) in _ = try mapping.copyBytes(range) }
      #expect(error?.code == .outOfRange)
    }
    #expect(try mapping.copyBytes(size..<size) == [])
  }

  @Test(.timeLimit(.minutes(1)))
  func `a mapping is given back by name`() async throws {
    let heap = MemfdHeap()
    let vmo = try heap.allocate(byteCount: 1)
    let mapping = try vmo.map()
    try mapping.withMutableBytes { bytes in bytes[0] = 1 }
    #expect(try mapping.withBytes { bytes in bytes[0] } == 1)
    mapping.unmap()
    try await heap.delete(vmo)
  }

  /// Each way to read and to end what was begun compiles, and without a warning.
  @Test(.timeLimit(.minutes(1)))
  func `access is begun and ended by name`() async throws {
    func sum(_ bytes: RawSpan) -> Int {
      unsafe bytes.withUnsafeBytes { bytes in unsafe bytes.reduce(0) { $0 + Int($1) } }
    }
    func use(_ vmo: borrowing VMO) throws {
      let mapping = try vmo.map()

      var writing = try mapping.writeAccess()
      var mutable = writing.mutableBytes
      mutable.storeBytes(of: 7, as: UInt8.self)
      let written = unsafe writing.bytes.unsafeLoad(as: UInt8.self)
      try writing.end()

      let direct = try mapping.readAccess()
      let read = unsafe direct.bytes.unsafeLoad(as: UInt8.self)
      try direct.end()

      let spanned = try mapping.readAccess()
      let bytes = spanned.bytes
      let count = bytes.byteCount
      try spanned.end()

      let pointed = try mapping.readAccess()
      let total = unsafe pointed.bytes.withUnsafeBytes { unsafe $0[0] }
      try pointed.end()

      let passed = try mapping.readAccess()
      let added = sum(passed.bytes)
      try passed.end()

      #expect(written == 7 && read == 7 && count == Int(pageSize) && total == 7 && added == 7)
    }
    let heap = MemfdHeap()
    let vmo = try heap.allocate(byteCount: 1)
    try use(vmo)
    try await heap.delete(vmo)
  }

  @Test func `a deletion that waits for this process itself tells the log`() async throws {
    let result = try await #require(
      processExitsWith: .success, observing: [\.standardErrorContent]
    ) {
      let daemon = try Daemon()
      for heap in [MemfdHeap(), try RemoteHeap(socket: daemon.socket)] as [any Heap] {
        let vmo = try heap.allocate(byteCount: 1)
        let mapping = try vmo.map()
        let handle = ReturnedVMO(vmo)
        let deletion = Task { try await heap.delete(handle.take()!) }
        // The line comes after one second, and looks through all mappings first.
        try await Task.sleep(for: .seconds(5))
        #expect(heap.liveBufferCount == 1)
        mapping.unmap()
        try await deletion.value
      }
      withExtendedLifetime(daemon) {}
    }
    let log = String(decoding: result.standardErrorContent, as: UTF8.self)
    let words = "deleteVmo waits for handles or mappings of the buffer in this process"
    #expect(log.split(separator: "\n").filter { $0.contains(words) }.count == 2, "\(log)")
  }
}

/// Buffers of no collection of the caller's.
@Suite struct UnnamedBufferTests {
  @Test func `each has a name of its own`() throws {
    let heap = MemfdHeap()
    let first = try heap.allocate(byteCount: 1)
    let second = try heap.allocate(byteCount: pageSize + 1)
    #expect(try heap.info(of: first) != heap.info(of: second))
    #expect(second.byteCount == 2 * pageSize)
    #expect(
      refusal { () throws(HeapError) in try heap.allocate(byteCount: 0) }?.code == .invalidArgs)
  }

  @Test func `what is refused for its pages is not cleaned up`() async throws {
    for heap in [MemfdHeap(), OpaqueHeap()] as [any Heap] {
      let diary = Diary()
      let error = refusal { () throws(HeapError) in
        try heap.allocate(
          nil, byteCount: 1, contiguous: true, cleanup: [{ diary.write("cleanup") }])
      }
      #expect(error?.code == .notSupported)
      #expect(try await eventuallyHolds { heap.liveBufferCount == 0 })
      #expect(diary.entries == [])
    }
  }

  @Test func `contiguous memory is refused by heaps that have none`() throws {
    for heap in [MemfdHeap(), OpaqueHeap()] as [any Heap] {
      let error = refusal { () throws(HeapError) in
        try heap.allocate(byteCount: 1, contiguous: true)
      }
      #expect(error?.code == .notSupported)
      #expect(heap.liveBufferCount == 0)
    }
  }

  @Test func `a foreign vmo is not deleted, and comes back`() async throws {
    let owner = MemfdHeap()
    let vmo = try owner.allocate(byteCount: 1)
    do throws(HeapError) {
      try await MemfdHeap().delete(vmo)
      Issue.record("it is deleted")
    } catch {
      #expect(error.code == .notFound)
      let returned = try #require(error.returnedVMO).taken()
      try await owner.delete(returned)
    }
  }
}
