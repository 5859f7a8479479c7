internal import CLibrary
internal import CLinuxHeaps
package import SystemPackage

/// The ioctls of a dma-buf descriptor (linux/dma-buf.h).
package enum DMABuf {
  /// The longest name that `DMA_BUF_SET_NAME` takes, without its NUL.
  static let longestName = 31
  /// What is made of a new buffer besides, as errors call it.
  static let setNameRequest = "DMA_BUF_SET_NAME"

  package static func setName(_ name: String, of buffer: CInt) throws(Errno) {
    _ = try call {
      unsafe name.withCString { unsafe CLinuxHeaps_dma_buf_set_name(buffer, $0) }
    }
  }

  package static func setName(_ key: BufferKey, of buffer: CInt) throws(Errno) {
    _ = try call {
      unsafe key.withCString { unsafe CLinuxHeaps_dma_buf_set_name(buffer, $0) }
    }
  }

  /// Begins or ends CPU access. The kernel answers EINTR or EAGAIN while a fence is waited for, and
  /// asks to be called again for both.
  package static func sync(_ buffer: CInt, _ flags: UInt64) throws(Errno) {
    while true {
      do throws(Errno) {
        _ = try call { CLinuxHeaps_dma_buf_sync(buffer, flags) }
        return
      } catch .resourceTemporarilyUnavailable {
        continue
      }
    }
  }
}

/// What `/proc/self/fdinfo/N` says of a dma-buf (Documentation/filesystems/proc.rst).
package struct FDInfo: Equatable {
  /// Bytes.
  var size: UInt64
  /// References to the open file in the whole system: descriptors in every process, mappings,
  /// messages in flight, imports of devices. The one that the reading itself takes is not in it.
  package var count: Int
  /// The heap that made it, or another exporter, e.g. `udmabuf`.
  package var exporter: String
  /// Nil until someone sets it.
  package var name: String?
}

extension FDInfo {
  /// `/proc/self/fdinfo`, kept open: one descriptor for all buffers, and a shorter path to each.
  ///
  /// A failure to open it is not kept: a process that is out of descriptors now may have some later.
  private static let directory = Guarded<SharedFD?>(nil)
  /// It lists the descriptors of the process that opened it. A child of fork(2) goes by the path, and past the lock.
  private static let mark = ForkMark()

  /// Of a descriptor of this process; nil when it is no dma-buf.
  static func read(_ number: CInt) throws(Errno) -> FDInfo? {
    if mark.isParents {
      return FDInfo(parsing: try SmallFile.read("/proc/self/fdinfo/\(number)"))
    }
    let directory = try Self.directory.withLock { directory throws(Errno) in
      if let directory { return directory }
      let opened = SharedFD(try .open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY))
      directory = opened
      return opened
    }
    return FDInfo(parsing: try SmallFile.read("\(number)", in: directory.fd))
  }

  /// Nil where the text has no `exp_name`: the descriptor is no dma-buf.
  ///
  /// Done with the C library's searches, because it is most of what a look at a buffer costs.
  package init?(parsing text: String) {
    let parsed = unsafe ("\n" + text).withCString { text -> FDInfo? in
      guard let size = unsafe Self.number("\nsize:\t", text),
        let count = unsafe Self.number("\ncount:\t", text),
        let exporter = unsafe Self.field("\nexp_name:\t", text)
      else { return nil }
      return unsafe FDInfo(
        size: size, count: Int(clamping: count),
        exporter: Self.string(exporter, upTo: strchr(exporter, Self.newline)),
        // The kernel's last line, and any holder may have put line breaks into it.
        name: Self.field("\nname:\t", text).map {
          unsafe Self.string($0, upTo: strrchr($0, Self.newline))
        })
    }
    guard let parsed else { return nil }
    self = parsed
  }

  /// The count alone, of a text that ends with a NUL; nil where it describes no dma-buf.
  static func count(in text: UnsafePointer<CChar>) -> Int? {
    guard let digits = unsafe field("\ncount:\t", text) else { return nil }
    var rest = unsafe digits
    var count = 0
    while unsafe isdigit(CInt(rest.pointee)) != 0 {
      count = unsafe count * 10 + Int(rest.pointee) - Int(UInt8(ascii: "0"))
      unsafe rest += 1
    }
    // The kernel's next line (`dma_buf_show_fdinfo`); other files can have a count too.
    return unsafe rest > digits && strncmp(rest, "\nexp_name:\t", 11) == 0 ? count : nil
  }

  private static let newline = CInt(UInt8(ascii: "\n"))

  /// What stands behind a line's start, at its first place: a later one is part of a name.
  private static func field(
    _ start: StaticString, _ text: UnsafePointer<CChar>
  ) -> UnsafePointer<CChar>? {
    // Literals end with a NUL.
    let start = unsafe (UnsafeRawPointer(start.utf8Start), start.utf8CodeUnitCount)
    return unsafe strstr(text, start.0.assumingMemoryBound(to: CChar.self))
      .map { unsafe UnsafePointer($0 + start.1) }
  }

  private static func number(_ key: StaticString, _ text: UnsafePointer<CChar>) -> UInt64? {
    guard let digits = unsafe field(key, text), unsafe isdigit(CInt(digits.pointee)) != 0 else {
      return nil
    }
    var end: UnsafeMutablePointer<CChar>?
    let number = unsafe strtoull(digits, &end, 10)
    guard let end = unsafe end, unsafe CInt(end.pointee) == newline else { return nil }
    return UInt64(number)
  }

  private static func string(
    _ start: UnsafePointer<CChar>, upTo end: UnsafeMutablePointer<CChar>?
  ) -> String {
    let count = unsafe end.map { unsafe UnsafePointer($0) - start } ?? strlen(start)
    let bytes = unsafe UnsafeRawBufferPointer(start: start, count: count)
    return unsafe String(decoding: bytes, as: UTF8.self)
  }
}
