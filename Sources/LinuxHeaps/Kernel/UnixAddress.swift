package import Glibc
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

  /// Whether there is no other file than a socket's: connect(2) answers ECONNREFUSED for any other, and where nobody listens.
  package static func isSocket(_ path: String) -> Bool {
    // The abstract namespace has no files.
    if path.hasPrefix("@") { return true }
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
  }

  /// Who may connect, for whoever may not; nil where that cannot be told.
  package static func access(to path: String, _ surroundings: Surroundings) -> String? {
    if let closed = surroundings.closedDirectory(of: path) { return "the socket \(closed.seen)" }
    return NodeStatus(path).map { "the socket is \($0), and connecting takes write permission" }
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
