import Foundation
import Glibc
import HeapFiles
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// What loading a file leaves in the page cache: here, and on a virtio disk (Tests/Kernel/load.sh).
@Suite struct PageCacheTests {
  /// 4 MiB and a little, on the disk and not in the page cache; removed with this value.
  private final class DiskFile: Sendable {
    let path: String
    static let byteCount = (4 << 20) + 100

    init() throws {
      // /tmp may be a tmpfs.
      let folder =
        ProcessInfo.processInfo.environment["TMPDIR"] ?? "\(Daemon.repository)/.build"
      path = "\(folder)/page-cache-\(UUID().uuidString)"
      try Data(repeating: 7, count: Self.byteCount).write(to: URL(fileURLWithPath: path))
      let file = try OwnedFD.open(path, O_RDONLY)
      fsync(file.rawValue)
      posix_fadvise(file.rawValue, 0, 0, POSIX_FADV_DONTNEED)
    }

    deinit { unsafe unlink(path) }

    /// Pages of it that the page cache has (mincore(2)).
    func cachedPages() throws -> Int {
      let file = try OwnedFD.open(path, O_RDONLY)
      let address = unsafe mmap(nil, Self.byteCount, PROT_READ, MAP_SHARED, file.rawValue, 0)
      guard let base = unsafe address, unsafe base != MAP_FAILED else {
        throw Errno(rawValue: errno)
      }
      defer { unsafe munmap(base, Self.byteCount) }
      var pages = [UInt8](repeating: 0, count: Self.byteCount / Int(pageSize) + 1)
      _ = try call { unsafe mincore(base, Self.byteCount, &pages) }
      return pages.count { $0 & 1 != 0 }
    }
  }

  /// Not on a tmpfs, whose files are in the page cache and nowhere else.
  private static let isMeasurable: Bool =
    (try? DiskFile()).flatMap { try? $0.cachedPages() } == 0

  @Test(
    .enabled(if: isMeasurable, "needs a file system on a disk"), arguments: TestHeaps.mappable)
  func `has none of a file that was loaded`(_ name: String) throws {
    let file = try DiskFile()
    let vmo = try TestHeaps.make(name).allocate(byteCount: UInt64(DiskFile.byteCount))
    let load = try FileSource(FilePath(file.path)).load(into: vmo)
    #expect(load.bytesThroughPageCache == 0)
    #expect(try file.cachedPages() == 0)
    #expect(try vmo.copyBytes(DiskFile.byteCount - 1..<DiskFile.byteCount + 1) == [7, 0])
    // What is measured is there to be seen.
    #expect(try Data(contentsOf: URL(fileURLWithPath: file.path)).count == DiskFile.byteCount)
    #expect(try file.cachedPages() == DiskFile.byteCount / Int(pageSize) + 1)
  }
}
