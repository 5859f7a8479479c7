import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct VMOSliceTests {
  private static let pages: UInt64 = 8

  private static func vmo() throws -> VMO {
    try MemfdHeap().allocate(.fresh(), size: pages * pageSize)
  }

  @Test(
    arguments: [
      // (offset, bytes, status)
      (1, pageSize, .invalidArgs), (pageSize - 1, pageSize, .invalidArgs),
      (0, 1, .invalidArgs), (0, pageSize + 1, .invalidArgs), (pageSize, pageSize - 1, .invalidArgs),
      (0, 0, .invalidArgs), (pageSize, 0, .invalidArgs), (8 * pageSize, 0, .invalidArgs),
      (0, 9 * pageSize, .outOfRange), (8 * pageSize, pageSize, .outOfRange),
      (7 * pageSize, 2 * pageSize, .outOfRange), (1 << 63, pageSize, .outOfRange),
      // The end overflows, to 0 and to a page.
      (0 &- pageSize, pageSize, .outOfRange), (0 &- pageSize, 2 * pageSize, .outOfRange),
      (pageSize, 0 &- pageSize, .outOfRange), (.max, .max, .invalidArgs),
    ] as [(UInt64, UInt64, HeapError.Code)])
  func `a range that is no part is refused`(
    _ offset: UInt64, _ byteCount: UInt64, _ code: HeapError.Code
  ) throws {
    let vmo = try Self.vmo()
    let error = refusal { () throws(HeapError) in
      try vmo.slice(offset: offset, byteCount: byteCount)
    }
    #expect(error?.code == code)
  }

  @Test(arguments: [(0, 8), (0, 1), (7, 1), (3, 4)] as [(UInt64, UInt64)])
  func `a slice is a part of the same buffer`(_ first: UInt64, _ count: UInt64) throws {
    let vmo = try Self.vmo()
    let slice = try vmo.slice(offset: first * pageSize, byteCount: count * pageSize)
    #expect(slice.offset == first * pageSize)
    #expect(slice.byteCount == count * pageSize)
    #expect(slice.identity == vmo.identity)
    #expect(slice.kind == .memfd)
    #expect(slice.heapName == MemfdHeap.name)
    #expect(slice.fd.rawValue != vmo.fd.rawValue)
  }

  @Test func `a slice of a slice counts from the slice`() throws {
    let vmo = try Self.vmo()
    let slice = try vmo.slice(offset: 2 * pageSize, byteCount: 4 * pageSize)
    let part = try slice.slice(offset: pageSize, byteCount: 2 * pageSize)
    #expect(part.offset == 3 * pageSize)
    #expect(part.byteCount == 2 * pageSize)
    let last = try part.slice(offset: pageSize, byteCount: pageSize)
    #expect(last.offset == 4 * pageSize)
  }

  @Test func `a slice of a slice stays in the slice`() throws {
    let vmo = try Self.vmo()
    let slice = try vmo.slice(offset: 2 * pageSize, byteCount: 4 * pageSize)
    let error = refusal { () throws(HeapError) in
      try slice.slice(offset: 3 * pageSize, byteCount: 2 * pageSize)
    }
    #expect(error?.code == .outOfRange)
  }

  @Test func `a duplicate has the same range`() throws {
    let vmo = try Self.vmo()
    let slice = try vmo.slice(offset: 2 * pageSize, byteCount: 4 * pageSize)
    let copy = try slice.duplicate()
    #expect(copy.offset == 2 * pageSize)
    #expect(copy.byteCount == 4 * pageSize)
    #expect(copy.identity == vmo.identity)
    #expect(copy.fd.rawValue != slice.fd.rawValue)
  }

  @Test func `a slice outlives what it was made of`() throws {
    let vmo = try Self.vmo()
    let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
    close(vmo)
    let part = try slice.slice(offset: 0, byteCount: pageSize)
    #expect(part.offset == pageSize)
  }
}
