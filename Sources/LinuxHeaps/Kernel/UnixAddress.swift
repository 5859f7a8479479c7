package import CLibrary
package import SystemPackage

/// The address of a Unix socket (unix(7)); a leading `@` stands for the abstract namespace.
package enum UnixAddress {
  /// Where heapd serves where nobody says otherwise.
  package static let heapService = "/run/heapd/heap.sock"

  /// - Throws: ``HeapError/Code/invalidArgs`` for what no socket's path can be.
  package static func check(_ path: String, _ operation: String) throws(HeapError) {
    guard path.utf8.count < 108, !path.isEmpty else {
      throw HeapError(
        .invalidArgs, operation, at: path,
        cause: "the path of a socket has 1 to 107 bytes (unix(7)), this one \(path.utf8.count)",
        fix: "choose another path")
    }
  }

  /// Whether there is no other file than a socket's.
  static func isSocket(_ path: String) -> Bool {
    // The abstract namespace has no files.
    if path.hasPrefix("@") { return true }
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
  }

  /// Why connect(2) failed.
  ///
  /// - Parameters:
  ///   - start: Has somebody listen there.
  ///   - other: What to do with a path at which there is something else.
  package static func refusal(
    _ error: Errno, _ operation: String, at path: String, start: String, other: String
  ) -> HeapError {
    var code = HeapError.Code(error)
    var (cause, fix): (String?, String?) = (nil, nil)
    switch error {
    // Of a socket's file that was left behind; and any other file answers so, too.
    case .connectionRefused where isSocket(path):
      (code, cause, fix) = (.notFound, "nobody listens there", start)
    case .connectionRefused: (code, cause, fix) = (.wrongType, "it is no socket", other)
    case .protocolWrongTypeForSocket:
      (cause, fix) = ("another program listens there, on a socket of another type", other)
    case .notDirectory, .tooManySymbolicLinkLevels: fix = other
    case .noSuchFileOrDirectory: fix = start
    case .permissionDenied:
      if let refusal = Surroundings().refusal(connectingTo: path) {
        return HeapError(refusal, operation, at: path, error, of: "socket")
      }
    default: break
    }
    return HeapError(
      code, operation, at: path, cause: cause ?? "\(error)", errno: error,
      fix: fix ?? HeapError.usualFix(error))
  }

  /// Makes a call that takes an address.
  package static func use(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
  ) -> Result<CInt, Errno> {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard bytes.count < capacity else { return .failure(.fileNameTooLong) }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }
    let isAbstract = bytes.first == UInt8(ascii: "@")
    if isAbstract { address.sun_path.0 = 0 }
    let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
    let length = socklen_t(start + bytes.count + (isAbstract ? 0 : 1))
    return unsafe withUnsafePointer(to: &address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        do throws(Errno) {
          return .success(try call { unsafe body(address, length) })
        } catch {
          return .failure(error)
        }
      }
    }
  }

  /// Of the file that a socket is bound to; nil where it is to none.
  package static func path(of socket: borrowing OwnedFD) -> String? {
    var address = sockaddr_un()
    var length = socklen_t(MemoryLayout<sockaddr_un>.size)
    let result = unsafe withUnsafeMutablePointer(to: &address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe getsockname(socket.rawValue, address, &length)
      }
    }
    guard result == 0, address.sun_family == sa_family_t(AF_UNIX) else { return nil }
    let bytes = unsafe withUnsafeBytes(of: &address.sun_path) { unsafe [UInt8]($0) }
      .prefix { $0 != 0 }
    return bytes.isEmpty ? nil : String(decoding: bytes, as: UTF8.self)
  }
}
