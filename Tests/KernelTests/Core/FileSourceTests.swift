import CLinuxHeaps
import Foundation
import Glibc
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

@testable import HeapFiles

/// Files whose bytes go into buffers. That the page cache has none of them afterwards is measured by PageCacheTests and, on a
/// virtio disk, by Tests/Kernel/load.sh.
@Suite struct FileSourceTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  private func file(_ bytes: [UInt8]) throws -> FilePath {
    let path = folder.path + "/file"
    try Data(bytes).write(to: URL(fileURLWithPath: path))
    return FilePath(path)
  }

  private static func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8 &* 7) | 1 }
  }

  private static func cut(_ path: FilePath, to size: Int) throws(Errno) {
    _ = try call { unsafe truncate(path.string, off_t(size)) }
  }

  /// How a file of the test's folder goes into a heap's buffer: not each file system has `O_DIRECT`.
  private func way(into heap: String, _ path: FilePath) -> FileLoad.Way {
    let isDirect = (try? OwnedFD.open(path.string, CLinuxHeaps_O_DIRECT)) != nil
    return isDirect ? ["memfd", "udmabuf"].contains(heap) ? .direct : .copied : .buffered
  }

  // MARK: Contents

  /// Their memfds are mapped by whole huge pages alone, and a buffer is a part of one.
  @Test(.enabled(if: HugeHeap.isUsable, "needs udmabuf and huge pages"))
  func `a part of a huge page gets a copy`() throws {
    let bytes = Self.bytes(3 * Int(pageSize))
    let path = try file(bytes)
    let heap = HugeHeap()
    let neighbour = try heap.allocate(byteCount: pageSize)
    let vmo = try heap.allocate(byteCount: 4 * pageSize)
    #expect(
      try FileSource(path).load(into: vmo, at: pageSize).way == way(into: HugeHeap.name, path))
    #expect(try vmo.copyBytes() == [UInt8](repeating: 0, count: Int(pageSize)) + bytes)
    #expect(try neighbour.copyBytes() == [UInt8](repeating: 0, count: Int(pageSize)))
  }

  /// The last is copied in three parts where it is copied.
  private static let sizes = [1, 511, 512, Int(pageSize), Int(pageSize) + 1, (2 << 20) + 777]

  /// A read can end anywhere, as where a file is written to meanwhile.
  @Test(
    arguments: [0, 1, 511, Int(pageSize) - 1, Int(pageSize), 300_000], [Int(pageSize), 1 << 20])
  func `a read goes to the last page's end, and not beyond its window`(_ start: Int, _ most: Int) {
    for total in Self.sizes where total > start {
      let length = FileSource.length(from: start, to: total, atMost: most)
      #expect((1...most).contains(length))
      #expect(start + length <= total.roundedUpToPage)
      #expect(length == most || start + length >= total)
    }
  }

  @Test(arguments: TestHeaps.mappable, sizes)
  func `a buffer gets the file's bytes, zeros to the page's end, and nothing else`(
    _ name: String, _ size: Int
  ) throws {
    let bytes = Self.bytes(size)
    let path = try file(bytes)
    let source = try FileSource(path)
    #expect(source.byteCount == size)
    let page = Int(pageSize)
    let pages = (size + page - 1) / page * page
    let vmo = try TestHeaps.make(name).allocate(byteCount: UInt64(pages + 2 * page))
    try vmo.withMutableBytes { span in for index in span.indices { span[index] = 0xff } }
    let load = try source.load(into: vmo, at: pageSize)
    #expect(load.way == way(into: name, path))
    #expect(load.bytesThroughPageCache == (load.way == .buffered ? UInt64(size) : 0))
    #expect((load.refusal == nil) == (load.way != .buffered))
    let whole = try vmo.copyBytes(0..<Int(vmo.byteCount))
    let untouched = [UInt8](repeating: 0xff, count: page)
    // Compared before they are expected: nobody reads a megabyte of numbers.
    let isRight =
      whole == untouched + bytes + [UInt8](repeating: 0, count: pages - size) + untouched
    #expect(isRight)
  }

  @Test(arguments: TestHeaps.mappable)
  func `one call makes a buffer of a file`(_ name: String) async throws {
    let bytes = Self.bytes(10_000)
    let heap = TestHeaps.make(name)
    let vmo = try heap.allocate(contentsOf: try file(bytes))
    #expect(vmo.byteCount == UInt64(10_000).roundedUpToPages)
    #expect(try vmo.copyBytes(0..<10_000) == bytes)
    try await heap.delete(vmo)
  }

  @Test(arguments: TestHeaps.mappable)
  func `a slice takes it at its own start`(_ name: String) throws {
    let bytes = Self.bytes(Int(pageSize))
    let source = try FileSource(try file(bytes))
    let heap = TestHeaps.make(name)
    let vmo = try heap.allocate(byteCount: 4 * pageSize)
    try source.load(
      into: try vmo.slice(offset: 2 * pageSize, byteCount: 2 * pageSize), at: pageSize)
    let page = Int(pageSize)
    #expect(try vmo.copyBytes(3 * page..<4 * page) == bytes)
    #expect(try vmo.copyBytes(0..<3 * page).allSatisfy { $0 == 0 })
    guard let udmabuf = heap as? UDMABufHeap else { return }
    let isolated = try udmabuf.isolatedSlice(of: vmo, offset: pageSize, byteCount: pageSize)
    #expect(try source.load(into: isolated).way == way(into: name, source.path))
    #expect(try vmo.copyBytes(page..<2 * page) == bytes)
    #expect(try vmo.copyBytes(0..<page).allSatisfy { $0 == 0 })
  }

  /// A file of /sys with a size of its own takes no `O_DIRECT`.
  @Test(arguments: TestHeaps.mappable)
  func `where the file system has no direct reads the page cache serves, and that is told`(
    _ name: String
  ) throws {
    let path = "/sys/kernel/notes"
    let source = try FileSource(FilePath(path))
    let vmo = try TestHeaps.make(name).allocate(byteCount: source.byteCount)
    let load = try source.load(into: vmo)
    #expect(load.way == .buffered)
    #expect(load.bytesThroughPageCache == source.byteCount)
    #expect(load.refusal == .invalidArgument)
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    #expect(try vmo.copyBytes(0..<Int(source.byteCount)) == [UInt8](bytes))
  }

  // MARK: Files that change

  @Test func `what is appended after the file was opened is not in the buffer`() throws {
    let path = try file(Self.bytes(1000))
    let source = try FileSource(path)
    let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path.string))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data(Self.bytes(100_000)))
    let vmo = try MemfdHeap().allocate(byteCount: source.byteCount)
    try source.load(into: vmo)
    #expect(
      try vmo.copyBytes(0..<Int(pageSize))
        == Self.bytes(1000) + [UInt8](repeating: 0, count: Int(pageSize) - 1000))
  }

  @Test(arguments: TestHeaps.mappable, [0, 1, 300_000, (2 << 20) - 1])
  func `a file that was made shorter is refused`(_ name: String, _ size: Int) throws {
    let path = try file(Self.bytes(2 << 20))
    let source = try FileSource(path)
    try Self.cut(path, to: size)
    let vmo = try TestHeaps.make(name).allocate(byteCount: source.byteCount)
    let error = try #require(refusal { () throws(HeapError) in try source.load(into: vmo) })
    #expect(error.code == .badState)
    #expect(error.path == path)
    #expect(error.cause.hasPrefix("it ends after \(size) of its 2097152 bytes"), "\(error)")
    #expect(error.fix != nil)
  }

  // MARK: Refusals

  @Test func `what is no file with bytes is refused, and not waited for`() throws {
    let pipe = folder.path + "/pipe"
    _ = try call { unsafe mkfifo(pipe, 0o600) }
    let socket = try SocketFile.bound(folder.path + "/socket", SOCK_STREAM)
    let empty = try file([])
    for (path, code) in [
      ("/nowhere/file", .notFound), (folder.path, .wrongType), ("/dev/null", .wrongType),
      (pipe, .wrongType), (folder.path + "/socket", .wrongType),
      (empty.string, .invalidArgs), ("/proc/self/status", .invalidArgs),
      (folder.path + "/file/below", .notFound),
    ] as [(String, HeapError.Code)] {
      let error = refusal { () throws(HeapError) in try FileSource(FilePath(path)) }
      #expect(error?.code == code, "\(path)")
      #expect(error?.path?.string == path)
      #expect(error?.operation == "load a file")
    }
    withExtendedLifetime(socket) {}
  }

  @Test func `a file of /sys that tells more bytes than it has is refused`() throws {
    let source = try FileSource("/sys/devices/system/cpu/online")
    let vmo = try MemfdHeap().allocate(byteCount: source.byteCount)
    let error = refusal { () throws(HeapError) in try source.load(into: vmo) }
    #expect(error?.code == .badState)
  }

  @Test func `a place that the vmo does not have is refused`() throws {
    let source = try FileSource(try file(Self.bytes(Int(pageSize) + 1)))
    let vmo = try MemfdHeap().allocate(byteCount: 3 * pageSize)
    for (offset, code) in [
      (1, .invalidArgs), (2 * pageSize, .outOfRange), (3 * pageSize, .outOfRange),
      (1 << 63, .outOfRange), (.max - pageSize + 1, .outOfRange),
    ] as [(UInt64, HeapError.Code)] {
      let error = refusal { () throws(HeapError) in try source.load(into: vmo, at: offset) }
      #expect(error?.code == code, "\(offset)")
    }
    let isUntouched = try vmo.copyBytes(0..<3 * Int(pageSize)).allSatisfy { $0 == 0 }
    #expect(isUntouched)
    try source.load(into: vmo, at: pageSize)
  }

  @Test func `an opaque vmo has no pages for a file`() throws {
    let source = try FileSource(try file(Self.bytes(1)))
    let vmo = try OpaqueHeap().allocate(byteCount: 1)
    let error = refusal { () throws(HeapError) in try source.load(into: vmo) }
    #expect(error?.code == .notSupported)
  }

  @Test(arguments: TestHeaps.mappable)
  func `a file larger than memory is refused before it is read`(_ name: String) throws {
    let path = try file([1])
    try Self.cut(path, to: 1 << 40)
    let heap = TestHeaps.make(name)
    let error = refusal { () throws(HeapError) in try heap.allocate(contentsOf: path) }
    #expect(error?.code == .noMemory)
    #expect(heap.liveBufferCount == 0)
  }

  /// In a process of its own, because other tests of this one open descriptors meanwhile.
  @Test func `nothing stays open or mapped, whether it was loaded or refused`() async {
    await #expect(processExitsWith: .success) {
      let folder = try TemporaryFolder()
      let path = try folder.file("file", String(repeating: "0123456789", count: 200_000))
      let heap = TestHeaps.make(TestHeaps.dmaBufs.first ?? "memfd")
      let vmo = try heap.allocate(byteCount: 2 << 20)
      func state() throws -> (open: Int, mapped: Int) {
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8)
        return (
          try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count,
          maps.split(separator: "\n").count
        )
      }
      let source = try FileSource(FilePath(path))
      for _ in 0..<3 { try source.load(into: vmo) }
      let before = try state()
      for _ in 0..<50 {
        let another = try FileSource(FilePath(path))
        try another.load(into: vmo)
        precondition(
          refusal { () throws(HeapError) in try another.load(into: vmo, at: pageSize * 64) } != nil)
        precondition(refusal { () throws(HeapError) in try FileSource("/dev/null") } != nil)
      }
      var after = try state()
      // libdispatch has a file of /proc open for a moment each second.
      for _ in 0..<100 where after.open > before.open {
        usleep(1_000)
        after = try state()
      }
      precondition(
        after.open <= before.open && after.mapped <= before.mapped + 5, "\(before) \(after)")
    }
  }
}
