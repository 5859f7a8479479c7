internal import CLinuxHeaps
package import Glibc

public import struct SystemPackage.Errno

/// One end of a connection that keeps messages whole and carries descriptors (unix(7),
/// `SOCK_SEQPACKET`).
public struct MessageSocket: ~Copyable, Sendable {
  /// The most descriptors in one message.
  public static let mostDescriptors = Int(CLinuxHeaps_MAX_DESCRIPTORS)

  private let fd: OwnedFD

  public init(adopting descriptor: consuming OwnedFD) { fd = descriptor }

  /// Two connected ends.
  @frozen
  public struct Pair: ~Copyable, Sendable {
    public let near: MessageSocket
    public let far: MessageSocket

    public init() throws(Errno) {
      var numbers: (CInt, CInt) = (-1, -1)
      _ = try call {
        unsafe withUnsafeMutableBytes(of: &numbers) { bytes in
          unsafe socketpair(
            AF_UNIX, CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0,
            bytes.assumingMemoryBound(to: CInt.self).baseAddress!)
        }
      }
      near = MessageSocket(adopting: OwnedFD(adopting: numbers.0))
      far = MessageSocket(adopting: OwnedFD(adopting: numbers.1))
    }

    /// Closes the far end here.
    package consuming func keepingNear() -> MessageSocket { near }
  }

  /// A socket that is connected to the ``MessageListener`` at `path` (connect(2)).
  ///
  /// - Parameter path: Of the socket's file; a leading `@` stands for the abstract namespace.
  /// - Throws: ``HeapError/Code/notFound`` where nobody listens there, ``HeapError/Code/accessDenied`` where this user may not
  ///   write to the file, ``HeapError/Code/wrongType`` where there is another file, or a socket of another type;
  ///   ``HeapError/Code/invalidArgs`` for a path of no byte or of more than 107.
  public init(connectedTo path: String) throws(HeapError) {
    let operation = "connect"
    try UnixAddress.check(path, operation)
    do throws(Errno) {
      fd = try Self.connected(to: path, type: SOCK_SEQPACKET, isBlocking: true)
    } catch {
      throw Self.refusal(error, operation, path)
    }
  }

  private static func refusal(_ error: Errno, _ operation: String, _ path: String) -> HeapError {
    let fix = "make a MessageListener(at:) there first"
    switch error {
    case .connectionRefused where UnixAddress.isSocket(path):
      return HeapError(
        .notFound, operation, at: path, cause: "nobody listens there", errno: error, fix: fix)
    case .connectionRefused:
      return HeapError(
        .wrongType, operation, at: path, cause: "it is no socket", errno: error,
        fix: "use the path of a MessageListener")
    case .protocolWrongTypeForSocket:
      return HeapError(
        error, operation, at: path,
        cause: "another program listens there, on a socket of another type",
        fix: "use the path of a MessageListener")
    case .permissionDenied:
      return HeapError(
        error, operation, at: path, cause: UnixAddress.access(to: path, Surroundings()),
        fix: "have the listener's process give write permission, e.g. chmod 660 and a group")
    default:
      return HeapError(
        error, operation, at: path, fix: error == .noSuchFileOrDirectory ? fix : nil)
    }
  }

  /// - Parameters:
  ///   - type: Of both sockets; with any but `SOCK_SEQPACKET` and `SOCK_DGRAM` messages run together.
  ///   - isBlocking: Whether its calls wait (not `SOCK_NONBLOCK`).
  package init(
    connectedTo path: String, type: __socket_type, isBlocking: Bool = true
  ) throws(Errno) {
    fd = try Self.connected(to: path, type: type, isBlocking: isBlocking)
  }

  private static func connected(
    to path: String, type: __socket_type, isBlocking: Bool
  ) throws(Errno) -> OwnedFD {
    let socket = try OwnedFD.unixSocket(type, isBlocking: isBlocking)
    let number = socket.rawValue
    _ = unsafe try UnixAddress.use(path) { address, length in
      unsafe connect(number, address, length)
    }.get()
    return socket
  }

  /// Sends one message. Descriptors that go along are dups: the sender keeps its own.
  ///
  /// - Parameters:
  ///   - bytes: The message.
  ///   - descriptors: At most ``mostDescriptors``.
  /// - Throws: A bare `Errno`: `EPIPE` when the other end is closed, `EINVAL` for too many descriptors.
  public func send(_ bytes: [UInt8], descriptors: [CInt] = []) throws(Errno) {
    try unsafe descriptors.withUnsafeBufferPointer { (descriptors) throws(Errno) in
      unsafe try fd.borrowed.send(bytes, passing: descriptors)
    }
  }

  /// Waits for one message.
  ///
  /// - Parameter limit: The most bytes that it may have.
  /// - Returns: Nil when the other end is closed.
  /// - Throws: A bare `Errno`: `EMSGSIZE` for a message of more than `limit` bytes, of more than ``mostDescriptors``
  ///   descriptors, or with other ancillary data; all descriptors that it brought are closed.
  public func receive(atMost limit: Int = 65_536) throws(Errno) -> Message? {
    var numbers = ReceiveBuffer.noNumbers
    var (count, isTruncated) = (0, false)
    var failure: Errno?
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: max(limit, 1)) { buffer, filled in
      do throws(Errno) {
        (filled, count, isTruncated) = unsafe try fd.borrowed.receive(
          buffer.baseAddress!, atMost: limit, &numbers)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    // Owned before anything can be thrown.
    let descriptors = ReceivedDescriptors(adopting: numbers.prefix(count))
    if isTruncated { throw .messageTooLong }
    if bytes.isEmpty && count == 0 && fd.borrowed.isOver { return nil }
    return Message(bytes: bytes, descriptors: descriptors)
  }

  /// Ends the connection: the other end sees it closed, whoever else holds this one (shutdown(2)).
  public borrowing func hangUp() { _ = shutdown(fd.rawValue, CInt(SHUT_RDWR)) }

  /// Lends the descriptor, e.g. to poll(2).
  public borrowing func withDescriptor<Result, Failure: Error>(
    _ body: (CInt) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(fd.rawValue)
  }

  /// Gives up the descriptor.
  public consuming func release() -> OwnedFD { fd }

  /// A message and what came with it.
  @frozen
  public struct Message: ~Copyable, Sendable {
    public let bytes: [UInt8]
    public var descriptors: ReceivedDescriptors
  }
}

/// Descriptors that arrived and were not taken yet; the rest is closed with it.
public struct ReceivedDescriptors: ~Copyable, Sendable {
  private var numbers: ArraySlice<CInt>

  package init(adopting numbers: ArraySlice<CInt>) { self.numbers = numbers }

  deinit { for number in numbers { close(number) } }

  public var count: Int { numbers.count }

  /// Gives up ownership of all of them.
  package mutating func release() -> ArraySlice<CInt> {
    defer { numbers = [] }
    return numbers
  }

  /// Takes one out of the order; the others keep theirs.
  package mutating func take(at index: Int) -> OwnedFD {
    OwnedFD(adopting: numbers.remove(at: numbers.startIndex + index))
  }

  /// The next one, in the order of sending; nil after the last.
  public mutating func next() -> OwnedFD? { numbers.popFirst().map(OwnedFD.init(adopting:)) }
}

/// Room for one message, used for all that a server receives.
package struct ReceiveBuffer {
  package enum Arrival: ~Copyable {
    /// ``ReceiveBuffer/count`` bytes of the buffer, and what came with them.
    case message(ReceivedDescriptors)
    /// None waits on a socket that does not block.
    case nothing
    /// The other end is closed, or the connection broke.
    case end
    /// More bytes or descriptors than a message has, or descriptors that this process had no room for.
    case truncated(ReceivedDescriptors)
  }

  package private(set) var bytes: [UInt8]
  /// The message's length.
  package private(set) var count = 0
  private var numbers = Self.noNumbers
  fileprivate static var noNumbers: [CInt] {
    [CInt](repeating: -1, count: Int(CLinuxHeaps_MAX_ARRIVING))
  }

  /// - Parameter capacity: The most bytes of a message.
  package init(capacity: Int) { bytes = [UInt8](repeating: 0, count: capacity) }

  package mutating func receive(_ socket: BorrowedFD) -> Arrival {
    let descriptorCount: Int
    let isTruncated: Bool
    do throws(Errno) {
      let limit = bytes.count
      (count, descriptorCount, isTruncated) = unsafe try socket.receive(
        &bytes, atMost: limit, &numbers)
    } catch {
      return error == .resourceTemporarilyUnavailable ? .nothing : .end
    }
    // Owned before anything else.
    let descriptors = ReceivedDescriptors(
      adopting: descriptorCount == 0 ? [] : ArraySlice(Array(numbers.prefix(descriptorCount))))
    if isTruncated { return .truncated(descriptors) }
    if count == 0 && descriptorCount == 0 && socket.isOver { return .end }
    return .message(descriptors)
  }

  /// The bytes that wait on a stream, at most as many as there is room for: they stay there, and so do the descriptors
  /// that came along. Empty where none wait, and at its end.
  package mutating func peek(_ socket: BorrowedFD) throws(Errno) -> ArraySlice<UInt8> {
    let limit = bytes.count
    do throws(Errno) {
      let length = try call { unsafe CLinuxHeaps_peek(socket.rawValue, &bytes, limit) }
      return bytes.prefix(length)
    } catch .resourceTemporarilyUnavailable {
      return []
    }
  }
}

extension OwnedFD {
  /// A Unix socket, close-on-exec.
  package static func unixSocket(
    _ type: __socket_type, isBlocking: Bool
  ) throws(Errno) -> OwnedFD {
    let flags = SOCK_CLOEXEC.rawValue | (isBlocking ? 0 : SOCK_NONBLOCK.rawValue)
    return OwnedFD(adopting: try call { socket(AF_UNIX, CInt(type.rawValue | flags), 0) })
  }
}

extension BorrowedFD {
  /// Sends one message over a socket, with at most one descriptor.
  ///
  /// - Throws: `EAGAIN` where a socket that does not block is full.
  package func send(_ bytes: [UInt8], passing descriptor: CInt?) throws(Errno) {
    var descriptor = descriptor ?? -1
    let count = descriptor < 0 ? 0 : 1
    try unsafe withUnsafePointer(to: &descriptor) { (start) throws(Errno) in
      unsafe try send(bytes, passing: UnsafeBufferPointer(start: start, count: count))
    }
  }

  fileprivate func send(
    _ bytes: [UInt8], passing descriptors: UnsafeBufferPointer<CInt>
  ) throws(Errno) {
    let socket = rawValue
    _ = try call {
      unsafe bytes.withUnsafeBufferPointer { bytes in
        var none: UInt8 = 0
        return unsafe CLinuxHeaps_send(
          socket, bytes.baseAddress ?? withUnsafePointer(to: &none) { unsafe $0 }, bytes.count,
          descriptors.baseAddress, descriptors.count)
      }
    }
  }

  /// Whether the peer of a socket has read all that was sent.
  package var allIsRead: Bool { CLinuxHeaps_unread(rawValue) == 0 }

  /// recvmsg(2) on a socket. The caller owns the first `count` of `numbers`.
  fileprivate func receive(
    _ bytes: UnsafeMutablePointer<UInt8>, atMost limit: Int, _ numbers: inout [CInt]
  ) throws(Errno) -> (length: Int, count: Int, isTruncated: Bool) {
    let socket = rawValue
    var count = 0
    var isTruncated = false
    let length = try call {
      unsafe CLinuxHeaps_receive(socket, bytes, limit, &numbers, &count, &isTruncated)
    }
    return (length, count, isTruncated)
  }

  /// Tells the connection's end from a message without bytes, for which recvmsg(2) answers 0 as well.
  fileprivate var isOver: Bool {
    var event = pollfd(fd: rawValue, events: Int16(EPOLLRDHUP.rawValue), revents: 0)
    return unsafe poll(&event, 1, 0) == 1
  }
}
