internal import CLibrary
internal import CLinuxHeaps

internal import struct SystemPackage.Errno

/// Where ``MessageSocket``s connect to, by a path (unix(7), `SOCK_SEQPACKET`). The socket's file goes with it.
public struct MessageListener: ~Copyable, Sendable {
  private let fd: OwnedFD
  private let path: String
  private let identity: VMOIdentity?

  /// Makes the socket's file, to which its owner alone can connect: others need write permission (chmod(2)).
  ///
  /// - Parameter path: Of the file; one that a listener left behind is replaced. A leading `@` stands for the abstract
  ///   namespace, where there is no file, and anybody can connect.
  /// - Throws: ``HeapError/Code/alreadyExists`` where somebody listens there, or a file is there that is no socket;
  ///   ``HeapError/Code/invalidArgs`` for a path of no byte or of more than 107; what bind(2) answers.
  public init(at path: String) throws(HeapError) {
    let operation = "listen"
    try UnixAddress.check(path, operation)
    do throws(Errno) { fd = try Self.listening(path) } catch .addressInUse {
      throw HeapError(
        .alreadyExists, operation, at: path,
        cause: UnixAddress.isSocket(path)
          ? "somebody listens there" : "there is a file, and it is no socket",
        errno: .addressInUse, fix: "choose another path")
    } catch .noSuchFileOrDirectory {
      throw HeapError(
        .notFound, operation, at: path, cause: "there is no such folder",
        errno: .noSuchFileOrDirectory, fix: "make the folder, or choose another path")
    } catch {
      throw HeapError(error, operation, at: path)
    }
    self.path = path
    identity = path.hasPrefix("@") ? nil : (try? Self.status(of: path))?.identity
  }

  deinit {
    // Not another's, who listens there by now; and in the abstract namespace there is none.
    guard let identity, (try? Self.status(of: path))?.identity == identity else { return }
    unsafe unlink(path)
  }

  /// Waits for the next one who connects.
  ///
  /// - Throws: ``HeapError/Code/noResources`` where the process may open no more files.
  public func accept() throws(HeapError) -> MessageSocket {
    let number = fd.rawValue
    let socket = try attempt("accept a connection", at: path) { () throws(Errno) in
      let accepted = OwnedFD(adopting: try call { CLinuxHeaps_accept(number) })
      let near = accepted.rawValue
      // It does not block, and its calls are to wait.
      _ = try call { fcntl(near, F_SETFL, 0) }
      return accepted
    }
    return MessageSocket(socket, at: path)
  }

  /// Lends the descriptor, e.g. to poll(2): readable when somebody waits.
  public borrowing func withDescriptor<Result, Failure: Error>(
    _ body: (CInt) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(fd.rawValue)
  }

  private static func listening(_ path: String) throws(Errno) -> OwnedFD {
    let socket = try OwnedFD.unixSocket(SOCK_SEQPACKET, isBlocking: true)
    let number = socket.rawValue
    _ = try call { fchmod(number, 0o600) }
    do throws(Errno) { try bind(number, path) } catch .addressInUse {
      guard isLeftBehind(path) else { throw .addressInUse }
      unsafe unlink(path)
      try bind(number, path)
    }
    _ = try call { listen(number, SOMAXCONN) }
    return socket
  }

  private static func bind(_ socket: CInt, _ path: String) throws(Errno) {
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe CLibrary.bind(socket, address, length)
    }.get()
  }

  private static func status(
    of path: String
  ) throws(Errno) -> (identity: VMOIdentity, isSocket: Bool) {
    var status = stat()
    _ = try call { unsafe lstat(path, &status) }
    return (VMOIdentity(status), status.st_mode & S_IFMT == S_IFSOCK)
  }

  /// A file without a socket refuses who connects, and so does any other file.
  private static func isLeftBehind(_ path: String) -> Bool {
    guard let status = try? status(of: path), status.isSocket else { return false }
    do throws(Errno) {
      _ = try MessageSocket(connectedTo: path, type: SOCK_SEQPACKET, isBlocking: false)
      return false
    } catch {
      return error == .connectionRefused
    }
  }
}
