package import CLibrary
internal import CLinuxHeaps

public import struct SystemPackage.Errno

/// Makes a system call that answers -1 on failure, and makes it again when a signal cut it short.
///
/// `errno` is read before anything else can change it. `close(2)` must not come through here: on
/// Linux the descriptor is gone even when it answers EINTR.
package func call<Result: SignedInteger>(_ body: () -> Result) throws(Errno) -> Result {
  while true {
    let result = body()
    if result != -1 { return result }
    let error = Errno(rawValue: errno)
    if error != .interrupted { throw error }
  }
}

/// A file descriptor that has one owner and is closed exactly once.
///
/// Copying is a named act, ``duplicate()``; giving up ownership is another, ``release()``.
public struct OwnedFD: ~Copyable, Sendable {
  /// The descriptor's number, valid as long as this value is.
  public let rawValue: CInt

  /// Takes ownership of an open descriptor. `rawValue` must not be negative.
  public init(adopting rawValue: CInt) {
    precondition(rawValue >= 0, "a descriptor's number is not negative")
    self.rawValue = rawValue
  }

  deinit { _ = CLibrary.close(rawValue) }

  /// A second descriptor of the same open file, close-on-exec (`F_DUPFD_CLOEXEC`, fcntl(2)).
  public func duplicate() throws(Errno) -> OwnedFD {
    let number = rawValue
    return OwnedFD(adopting: try call { fcntl(number, F_DUPFD_CLOEXEC, 0) })
  }

  /// Gives up ownership: the caller closes the descriptor from now on.
  public consuming func release() -> CInt {
    let number = rawValue
    discard self
    return number
  }
}

extension OwnedFD {
  /// Opens `path` close-on-exec (open(2)).
  package static func open(_ path: String, _ flags: CInt) throws(Errno) -> OwnedFD {
    OwnedFD(adopting: try call { unsafe CLibrary.open(path, flags | O_CLOEXEC) })
  }

  /// A new open file of the same inode with other rights: `/proc/self/fd/N` followed, not duplicated.
  ///
  /// Works for memfds; a dma-buf answers ENXIO.
  func reopened(_ flags: CInt) throws(Errno) -> OwnedFD {
    let number = rawValue
    return OwnedFD(adopting: try call { CLinuxHeaps_reopen(number, flags) })
  }

  /// All of `bytes`, at the file's position.
  package func write(_ bytes: [UInt8]) throws(Errno) {
    let number = rawValue
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = try call {
        unsafe rest.withUnsafeBytes { unsafe CLibrary.write(number, $0.baseAddress!, $0.count) }
      }
      rest = rest.dropFirst(count)
    }
  }

  package func status() throws(Errno) -> stat {
    var status = stat()
    let number = rawValue
    _ = try call { unsafe fstat(number, &status) }
    return status
  }
}

/// A descriptor of somebody else's, who keeps it open for as long as this is used.
package struct BorrowedFD: Sendable {
  package let rawValue: CInt

  package init(_ rawValue: CInt) { self.rawValue = rawValue }
}

extension OwnedFD {
  package var borrowed: BorrowedFD { BorrowedFD(rawValue) }
}

/// A descriptor with several owners, closed when the last lets go.
package final class SharedFD: Sendable {
  package let fd: OwnedFD
  package init(_ fd: consuming OwnedFD) { self.fd = fd }
}
