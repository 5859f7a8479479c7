internal import CLibrary
internal import CLinuxHeaps
public import LinuxHeaps
public import SystemPackage

/// A file, or a block device, whose bytes go into buffers without a stay in the page cache.
///
/// It is read with `O_DIRECT` (open(2)): the disk writes to the buffer's pages where those are a memfd's, which includes
/// udmabufs of this process. No device can be made to write to another dma-buf's mapping (VM_PFNMAP: EFAULT), so such a
/// buffer gets a copy of each mebibyte that was read. Where the file system has no `O_DIRECT` the page cache is used.
public struct FileSource: Sendable {
  public let path: FilePath
  /// As many as there were when the file was opened, at least 1.
  public let byteCount: UInt64
  private let file: SharedFD
  /// The same file, opened with `O_DIRECT`.
  private let direct: SharedFD?
  /// Why it is not.
  private let refusal: Errno?

  /// Opens a file for reading; it is closed with the last copy of this value. What is no file is not opened: a pipe would wait
  /// for a writer, and a device might act on it.
  ///
  /// - Throws: `notFound` and `accessDenied`; `wrongType` for what is neither a regular file nor a block device;
  ///   `invalidArgs` for one without bytes, or which like a file of /proc does not tell how many.
  public init(_ path: FilePath) throws(HeapError) {
    let opened = try attempt(Self.operation, at: path.string) { () throws(Errno) in
      try Opened(path)
    }
    guard let opened else {
      throw HeapError(
        .wrongType, Self.operation, at: path.string,
        cause: "it is neither a regular file nor a block device",
        fix: "load a file; what comes from a pipe has to be written to one first")
    }
    guard opened.size > 0 else {
      throw HeapError(
        .invalidArgs, Self.operation, at: path.string,
        cause: "it has no bytes, or like a file of /proc does not tell how many",
        fix: "load a file that has a size, e.g. a copy")
    }
    self.path = path
    byteCount = UInt64(opened.size)
    file = opened.file
    direct = opened.direct
    refusal = opened.refusal
  }

  private static let operation = "load a file"

  private struct Opened {
    let size: off_t
    let file: SharedFD
    private(set) var direct: SharedFD?
    private(set) var refusal: Errno?

    /// Nil where it is neither a regular file nor a block device.
    init?(_ path: FilePath) throws(Errno) {
      let place = OwnedFD(
        adopting: try call {
          unsafe path.withPlatformString {
            unsafe CLibrary.open($0, CLinuxHeaps_O_PATH | O_CLOEXEC)
          }
        })
      let status = try place.status()
      let kind = status.st_mode & S_IFMT
      guard kind == S_IFREG || kind == S_IFBLK else { return nil }
      file = SharedFD(try Self.open(place, 0))
      let number = file.fd.rawValue
      // Of a block device fstat(2) tells no size, and a file of /proc refuses to be sought in.
      size = kind == S_IFREG ? status.st_size : try call { lseek(number, 0, SEEK_END) }
      do throws(Errno) {
        // ext4 takes the flag for files that it reads through the page cache all the same (ext4_should_use_dio, fs/ext4/file.c).
        if CLinuxHeaps_lacks_direct_io(number) { throw .notSupported }
        direct = SharedFD(try Self.open(place, CLinuxHeaps_O_DIRECT))
      } catch  where error == .notSupported || error == .invalidArgument {
        refusal = error
      }
    }

    private static func open(_ place: borrowing OwnedFD, _ flags: CInt) throws(Errno) -> OwnedFD {
      let number = place.rawValue
      return OwnedFD(adopting: try call { CLinuxHeaps_reopen(number, O_RDONLY | flags) })
    }
  }

  /// Reads all of the file into a part of `vmo`, between the two calls of `DMA_BUF_IOCTL_SYNC`.
  ///
  /// The rest of the part's last page becomes zero. Blocks its thread. Where it throws, any of these bytes may have changed.
  ///
  /// - Parameters:
  ///   - vmo: Of any heap whose memory the processor reaches.
  ///   - offset: Bytes from the vmo's start, a multiple of `pageSize`.
  /// - Returns: Which way the bytes went.
  /// - Throws: `invalidArgs` for another offset, `outOfRange` where the vmo ends before the file, `badState` where the file
  ///   ends before its size, what `VMO.map()` throws, and what the kernel answers to pread(2).
  @discardableResult
  public func load(
    into vmo: borrowing VMO, at offset: UInt64 = 0
  ) throws(HeapError) -> FileLoad {
    guard offset % pageSize == 0 else {
      throw refused(.invalidArgs, "the offset \(offset) is no multiple of a page")
    }
    guard offset < vmo.byteCount, byteCount <= vmo.byteCount - offset else {
      throw refused(
        .outOfRange,
        "the vmo has \(vmo.byteCount) bytes, and the file \(byteCount), for offset \(offset)",
        fix: "allocate as many bytes as the file has")
    }
    let mapping = try vmo.map()
    let memory = unsafe mapping.address + Int(offset)
    var load = FileLoad(way: .direct, bytesThroughPageCache: 0, refusal: refusal)
    var window: Window?
    if direct == nil {
      load.way = .buffered
    } else if vmo.kind == .dmaBuf {
      let pages = vmo.pages
      if pages == nil { load.way = .copied }
      window = try attempt(Self.operation, at: path.string) { () throws(Errno) in
        if let pages {
          try Window(of: pages.memfd, pages.offset + offset, Int(byteCount))
        } else {
          try Window(of: nil, 0, Self.copiedAtOnce)
        }
      }
    }
    try mapping.begin(ReadWrite.self)
    let end = Result { () throws(HeapError) in
      try unsafe read(into: memory, by: window?.base ?? memory, &load)
    }
    try mapping.end(ReadWrite.self)
    try end.get()
    return load
  }

  private static let copiedAtOnce = 1 << 20

  /// Of one read: to the end of the file's last page, and so of its last block, whose bytes behind the file's end may come along.
  static func length(from start: Int, to total: Int, atMost most: Int) -> Int {
    min(total.roundedUpToPage - start, most)
  }

  /// - Parameter place: Where a device may write: to the same pages as `memory` has, or to others.
  private func read(
    into memory: UnsafeMutableRawPointer, by place: UnsafeMutableRawPointer, _ load: inout FileLoad
  ) throws(HeapError) {
    let total = Int(byteCount)
    var done = 0
    while done < total {
      let start = done
      var count: Int
      do throws(Errno) {
        if let number = direct?.fd.rawValue, load.way != .buffered {
          let isCopied = load.way == .copied
          // Between two of these a signal can end the process.
          let length = Self.length(
            from: start, to: total, atMost: isCopied ? Self.copiedAtOnce : 16 << 20)
          let target = unsafe isCopied ? place : place + start
          count = try call { unsafe pread(number, target, length, off_t(start)) }
          count = min(count, total - start)
          if isCopied { unsafe (memory + start).copyMemory(from: target, byteCount: count) }
        } else {
          let number = file.fd.rawValue
          count = try call { unsafe pread(number, memory + start, total - start, off_t(start)) }
          load.bytesThroughPageCache += UInt64(count)
        }
      } catch  where error == .invalidArgument && load.way != .buffered {
        // Blocks larger than a page, or a read that ended within one.
        load.way = .buffered
        load.refusal = error
        continue
      } catch {
        throw HeapError(error, Self.operation, at: path.string)
      }
      guard count > 0 else {
        throw refused(
          .badState,
          "it ends after \(start) of its \(total) bytes: it was made shorter since it "
            + "was opened, or like a file of /sys has fewer than it tells",
          fix: "load it while nobody writes to it, or load a copy")
      }
      done += count
    }
    unsafe (memory + total).initializeMemory(
      as: UInt8.self, repeating: 0, count: total.roundedUpToPage - total)
  }

  private func refused(
    _ code: HeapError.Code, _ cause: String, fix: String? = nil
  ) -> HeapError {
    HeapError(code, Self.operation, at: path.string, cause: cause, fix: fix)
  }
}

/// Which way a file's bytes went into a buffer.
public struct FileLoad: Sendable {
  public enum Way: String, Sendable {
    /// From the disk to the buffer's pages.
    case direct
    /// From the disk to memory of this process, and from there by the processor.
    case copied
    /// Through the page cache, and from there by the processor: all of them, or the last.
    case buffered
  }

  public internal(set) var way: Way
  /// 0 where the page cache has no more of the file than before.
  public internal(set) var bytesThroughPageCache: UInt64
  /// The kernel's answer for which the page cache was used: `notSupported` where the file system has no direct reads of this
  /// file, `invalidArgument` where it refused `O_DIRECT` or such a read.
  public internal(set) var refusal: Errno?
}

extension Heap {
  /// Allocates a buffer of a file's size and loads the file into it.
  ///
  /// - Parameters:
  ///   - path: Of a regular file or a block device.
  ///   - contiguous: Whether the memory has to be physically contiguous.
  /// - Returns: The file's bytes, and zeros up to the end of a page.
  /// - Throws: What ``FileSource/init(_:)``, `allocate(byteCount:contiguous:)` and ``FileSource/load(into:at:)`` throw: nothing
  ///   is left of the buffer then.
  public func allocate(contentsOf path: FilePath, contiguous: Bool = false) throws(HeapError) -> VMO
  {
    let file = try FileSource(path)
    let vmo = try allocate(byteCount: file.byteCount, contiguous: contiguous)
    try file.load(into: vmo)
    return vmo
  }
}

/// Memory that a device can be made to write to: ordinary pages.
@safe
private final class Window {
  let base: UnsafeMutableRawPointer
  private let byteCount: Int

  /// - Parameter memfd: Nil for memory of this process's own.
  init(of memfd: SharedFD?, _ offset: UInt64, _ byteCount: Int) throws(Errno) {
    let address = unsafe mmap(
      nil, byteCount, PROT_READ | PROT_WRITE,
      memfd == nil ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, memfd?.fd.rawValue ?? -1,
      off_t(offset))
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    unsafe base = address
    self.byteCount = byteCount
  }

  deinit { unsafe munmap(base, byteCount) }
}

extension Int {
  var roundedUpToPage: Int { (self + Int(pageSize) - 1) & ~(Int(pageSize) - 1) }
}
