internal import CLinuxHeaps
internal import Glibc
public import LinuxHeaps
internal import SystemPackage

/// A socket on which clients connect.
public struct Listener: ~Copyable, Sendable {
  let fd: OwnedFD
  /// Nil for a socket that was handed over by whoever made it.
  private let path: String?

  /// One that the service manager listens on already.
  public init(inherited descriptor: consuming OwnedFD) {
    _ = fcntl(descriptor.rawValue, F_SETFL, O_NONBLOCK)
    fd = descriptor
    path = nil
  }

  /// Makes a socket file.
  ///
  /// - Parameters:
  ///   - path: Of the file; a file of a socket that nobody listens on is replaced.
  ///   - type: `SOCK_SEQPACKET` for the protocols, `SOCK_STREAM` for the metrics.
  ///   - mode: Permission bits; who may write may connect (unix(7)).
  ///   - group: The file's group; nil leaves it.
  /// Throws `HeapError.Code.alreadyExists` where a server answers at `path`, or a file is that is no
  /// socket.
  public init(
    at path: String, type: Kind = .messages, mode: UInt32 = 0o660, group: String? = nil
  ) throws(HeapError) {
    let operation = "listen"
    guard path.utf8.count < 108, !path.isEmpty else {
      throw HeapError(
        .invalidArgs, operation, at: path,
        cause: "the path of a socket has 1 to 107 bytes (unix(7)), this one \(path.utf8.count)")
    }
    let socket = try Self.make(type, operation, path)
    if Self.isAnswered(path, type) {
      throw HeapError(
        .alreadyExists, operation, at: path, cause: "a server listens there already",
        fix: "stop it, or choose another path")
    }
    if Self.isOtherFile(path) {
      throw HeapError(
        .alreadyExists, operation, at: path, cause: "there is a file, and it is no socket",
        fix: "choose another path")
    }
    let group = try Self.identifier(ofGroup: group, operation, path)
    do throws(Errno) {
      try Self.bind(socket, path, mode, group)
    } catch {
      throw HeapError(
        error, operation, at: path, fix: "choose a path in a folder that this user may write to")
    }
    fd = socket
    self.path = path
  }

  public enum Kind: Sendable { case messages, stream }

  /// Of a socket that this process made.
  func removeFile() { if let path { unsafe unlink(path) } }

  /// The next client; nil where none waits.
  func accept() throws(Errno) -> OwnedFD? {
    let number = fd.rawValue
    do throws(Errno) {
      return OwnedFD(adopting: try call { CLinuxHeaps_accept(number) })
    } catch .resourceTemporarilyUnavailable {
      return nil
    }
  }

  // MARK: Making

  private static func make(
    _ kind: Kind, _ operation: String, _ path: String
  ) throws(HeapError) -> OwnedFD {
    let type = kind == .messages ? SOCK_SEQPACKET : SOCK_STREAM
    do throws(Errno) {
      return OwnedFD(
        adopting: try call {
          socket(
            AF_UNIX, CInt(type.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0)
        })
    } catch {
      throw HeapError(error, operation, at: path)
    }
  }

  private static func isAnswered(_ path: String, _ kind: Kind) -> Bool {
    guard let probe = try? make(kind, "", path) else { return false }
    let number = probe.rawValue
    let answer: Result<CInt, Errno> = unsafe UnixAddress.use(path) { address, length in
      unsafe connect(number, address, length)
    }
    // EAGAIN: its queue is full.
    switch answer {
    case .success, .failure(.resourceTemporarilyUnavailable): return true
    case .failure: return false
    }
  }

  private static func isOtherFile(_ path: String) -> Bool {
    var status = stat()
    return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT != S_IFSOCK
  }

  private static func identifier(
    ofGroup name: String?, _ operation: String, _ path: String
  ) throws(HeapError) -> gid_t? {
    guard let name else { return nil }
    do throws(Errno) { return try UserDatabase.group(name) } catch {
      throw HeapError(
        .notFound, operation, at: path, cause: "there is no group '\(name)'",
        fix: "use a group's name or number")
    }
  }

  private static func bind(
    _ socket: borrowing OwnedFD, _ path: String, _ mode: UInt32, _ group: gid_t?
  ) throws(Errno) {
    let number = socket.rawValue
    unsafe unlink(path)
    // Closed to all until mode and group are as they should be.
    _ = try call { fchmod(number, 0) }
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe Glibc.bind(number, address, length)
    }.get()
    do throws(Errno) {
      if let group { _ = try call { unsafe chown(path, uid_t.max, group) } }
      _ = try call { unsafe chmod(path, mode) }
      _ = try call { listen(number, 128) }
    } catch {
      unsafe unlink(path)
      throw error
    }
  }
}
