internal import CLinuxHeaps
internal import Glibc

public import struct SystemPackage.Errno

/// Where ``MessageSocket``s connect to, by a path (unix(7), `SOCK_SEQPACKET`). The socket's file goes with it.
public struct MessageListener: ~Copyable, Sendable {
  private let fd: OwnedFD
  /// Of the file; nil in the abstract namespace.
  private let path: String?
  private let identity: VMOIdentity?

  /// Makes the socket's file, to which its owner alone can connect: others need write permission (chmod(2)).
  ///
  /// - Parameter path: Of the file; one that a listener left behind is replaced. A leading `@` stands for the abstract
  ///   namespace, where there is no file, and anybody can connect.
  /// - Throws: `EADDRINUSE` where somebody listens there, or a file is there that is no socket; what bind(2) answers.
  public init(at path: String) throws(Errno) {
    let socket = try OwnedFD.unixSocket(SOCK_SEQPACKET, isBlocking: true)
    let number = socket.rawValue
    _ = try call { fchmod(number, 0o600) }
    do throws(Errno) { try Self.bind(number, path) } catch .addressInUse {
      guard Self.isLeftBehind(path) else { throw .addressInUse }
      unsafe unlink(path)
      try Self.bind(number, path)
    }
    _ = try call { listen(number, SOMAXCONN) }
    fd = socket
    self.path = path.hasPrefix("@") ? nil : path
    identity = (try? Self.status(of: path))?.identity
  }

  deinit {
    // Not another's, who listens there by now.
    guard let path, let identity, (try? Self.status(of: path))?.identity == identity else { return }
    unsafe unlink(path)
  }

  /// Waits for the next one who connects.
  public func accept() throws(Errno) -> MessageSocket {
    let number = fd.rawValue
    let accepted = OwnedFD(adopting: try call { CLinuxHeaps_accept(number) })
    let near = accepted.rawValue
    // It does not block, and its calls are to wait.
    _ = try call { fcntl(near, F_SETFL, 0) }
    return MessageSocket(adopting: accepted)
  }

  /// Lends the descriptor, e.g. to poll(2): readable when somebody waits.
  public borrowing func withDescriptor<Result, Failure: Error>(
    _ body: (CInt) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(fd.rawValue)
  }

  private static func bind(_ socket: CInt, _ path: String) throws(Errno) {
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe Glibc.bind(socket, address, length)
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
