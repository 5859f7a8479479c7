internal import CLibrary
internal import CLinuxHeaps
public import LinuxHeaps
internal import SystemPackage

/// A socket on which clients connect, closed with the last reference.
public final class Listener: Sendable {
  let fd: OwnedFD
  /// Nil for a socket that was handed over by whoever made it, and once it is removed.
  private let file: Guarded<SocketFile?>
  /// Of its file, as it was when this value was made.
  private let owner: FileOwner

  private struct SocketFile {
    let path: String
    let identity: VMOIdentity
  }

  /// One that the service manager listens on already.
  public init(inherited descriptor: consuming OwnedFD) {
    _ = fcntl(descriptor.rawValue, F_SETFL, O_NONBLOCK)
    owner = UnixAddress.path(of: descriptor).flatMap { try? Self.owner(of: $0) } ?? Self.nobody
    fd = descriptor
    file = Guarded(nil)
  }

  /// Makes a socket file.
  ///
  /// - Parameters:
  ///   - path: Of the file; one that a server left behind is replaced.
  ///   - type: `SOCK_SEQPACKET` for the protocols, `SOCK_STREAM` for the metrics.
  ///   - mode: Permission bits; connecting takes write permission (unix(7)).
  ///   - group: The file's group, by name or number; nil leaves it.
  /// - Throws: `alreadyExists` where a server listens at `path` or a file is there that is no socket,
  ///   `accessDenied` where that cannot be told, `invalidArgs` for a path that no socket file can have,
  ///   `notFound` for an unknown group.
  public init(
    at path: String, type: Kind = .messages, mode: UInt32 = 0o660, group: String? = nil
  ) throws(HeapError) {
    let operation = "listen"
    try UnixAddress.check(path, operation)
    if path.hasPrefix("@") {
      throw HeapError(
        .invalidArgs, operation, at: path,
        cause: "a socket without a file has no mode and no group", fix: "choose a path")
    }
    let socket = try attempt(operation, at: path) { () throws(Errno) in
      try OwnedFD.unixSocket(type.socketType, isBlocking: false)
    }
    try Self.checkFree(path, type, operation)
    var groupID: gid_t?
    if let group {
      groupID = UserDatabase.group(group)
      guard groupID != nil else {
        throw HeapError(
          .notFound, operation, at: path, cause: "there is no group '\(group)'",
          fix: "use a group's name or number")
      }
    }
    let file = SocketFile(path: path, identity: try Self.bind(socket, path, operation))
    do throws(HeapError) {
      try Self.open(socket, path, mode, groupID, operation)
      owner = try attempt(operation, at: path) { () throws(Errno) in try Self.owner(of: path) }
    } catch {
      Self.remove(file)
      throw error
    }
    fd = socket
    self.file = Guarded(file)
  }

  deinit { removeFile() }

  public enum Kind: Sendable {
    case messages, stream

    var socketType: SocketType { self == .messages ? SOCK_SEQPACKET : SOCK_STREAM }
  }

  /// Of a socket that this process made. Once: a successor's file can have the number that this one had.
  func removeFile() { if let file = file.withLock({ $0.take() }) { Self.remove(file) } }

  /// Not another's, who listens there by now.
  private static func remove(_ file: SocketFile) {
    if let identity = try? identity(of: file.path), identity == file.identity {
      unsafe unlink(file.path)
    }
  }

  private static func identity(of path: String) throws(Errno) -> VMOIdentity {
    var status = stat()
    _ = try call { unsafe lstat(path, &status) }
    return VMOIdentity(status)
  }

  private static func owner(of path: String) throws(Errno) -> FileOwner {
    var status = stat()
    _ = try call { unsafe lstat(path, &status) }
    return FileOwner(user: status.st_uid, group: status.st_gid)
  }

  /// Of a socket whose file cannot be found.
  private static var nobody: FileOwner { FileOwner(user: .max, group: .max) }

  /// Sets how many may wait to be accepted, also where the service manager had it otherwise; one more finds room (unix_recvq_full,
  /// net/unix/af_unix.c). Where the kernel refuses, it stays as it was.
  ///
  /// The kernel's queue is first come, first served, and who is in it may be gone: four processes that connect and hang up fill any
  /// queue, and whoever comes next waits for all of it. Who finds it full waits in connect(2), or is told EAGAIN (unix(7)).
  func setBacklog(_ count: CInt) { _ = listen(fd.rawValue, count) }

  /// The next client; nil where none waits.
  func accept(_ disposer: Disposer) throws(Errno) -> ClientSocket? {
    let number = fd.rawValue
    do throws(Errno) {
      return ClientSocket(
        accepted: try call { CLinuxHeaps_accept(number) }, through: owner, disposer)
    } catch .resourceTemporarilyUnavailable {
      return nil
    }
  }

  // MARK: Making

  /// Whether nothing is lost by a new file at `path`.
  private static func checkFree(
    _ path: String, _ kind: Kind, _ operation: String
  ) throws(HeapError) {
    var status = stat()
    do throws(Errno) { _ = try call { unsafe lstat(path, &status) } } catch .noSuchFileOrDirectory {
      return
    } catch {
      throw refusal(error, operation, path)
    }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw HeapError(
        .alreadyExists, operation, at: path, cause: "there is a file, and it is no socket",
        fix: "choose another path")
    }
    do throws(Errno) {
      _ = try MessageSocket(connectedTo: path, type: kind.socketType, isBlocking: false)
    } catch .connectionRefused, .noSuchFileOrDirectory {
      // A file that its socket left behind; or one that is gone by now.
      return
    } catch .permissionDenied {
      throw HeapError(
        .accessDenied, operation, at: path,
        cause: "there is a socket that this user may not connect to, so a server may listen there",
        fix: "stop it and remove the file, or choose another path")
    } catch {
      // Its queue is full (EAGAIN), or it is of another type (EPROTOTYPE).
    }
    throw HeapError(
      .alreadyExists, operation, at: path, cause: "a server listens there already",
      fix: "stop it, or choose another path")
  }

  /// Closed to all: mode and group come after it. Answers which file it is.
  private static func bind(
    _ socket: borrowing OwnedFD, _ path: String, _ operation: String
  ) throws(HeapError) -> VMOIdentity {
    let number = socket.rawValue
    do throws(Errno) {
      unsafe unlink(path)
      _ = try call { fchmod(number, 0) }
      _ = unsafe try UnixAddress.use(path) { address, length in
        unsafe CLibrary.bind(number, address, length)
      }.get()
      do throws(Errno) { return try identity(of: path) } catch {
        // Made this moment.
        unsafe unlink(path)
        throw error
      }
    } catch {
      throw refusal(error, operation, path)
    }
  }

  /// A file that cannot be made there.
  private static func refusal(_ error: Errno, _ operation: String, _ path: String) -> HeapError {
    let fix =
      switch error {
      case .noSuchFileOrDirectory, .notDirectory:
        "make the folder, or choose a path in one that is there"
      case .noSpace: "make room there, or choose another path"
      default: "choose a path in a folder that this user may write to"
      }
    return HeapError(error, operation, at: path, fix: fix)
  }

  private static func open(
    _ socket: borrowing OwnedFD, _ path: String, _ mode: UInt32, _ group: gid_t?,
    _ operation: String
  ) throws(HeapError) {
    let number = socket.rawValue
    if let group {
      do throws(Errno) { _ = try call { unsafe chown(path, uid_t.max, group) } } catch {
        throw HeapError(
          error, operation, at: path, cause: "this user may not give a file to group \(group)",
          fix: "use a group that this user is in")
      }
    }
    try attempt(operation, at: path) { () throws(Errno) in
      _ = try call { unsafe chmod(path, mode) }
      _ = try call { listen(number, SOMAXCONN) }
    }
  }
}
