package import CLibrary
internal import CLinuxHeaps

package import struct SystemPackage.Errno

/// One end of a connection that keeps messages whole and carries descriptors (unix(7),
/// `SOCK_SEQPACKET`).
public struct MessageSocket: ~Copyable, Sendable {
  /// The most descriptors in one message.
  public static let mostDescriptors = Int(CLinuxHeaps_MAX_DESCRIPTORS)

  private let fd: OwnedFD
  /// Where it was connected or accepted.
  private let path: String?

  public init(adopting descriptor: consuming OwnedFD) { self.init(descriptor, at: nil) }

  init(_ descriptor: consuming OwnedFD, at path: String?) {
    fd = descriptor
    self.path = path
  }

  /// Two connected ends.
  @frozen
  public struct Pair: ~Copyable, Sendable {
    public let near: MessageSocket
    public let far: MessageSocket

    /// - Throws: ``HeapError/Code/noResources`` where the process may open no more files.
    public init() throws(HeapError) {
      var numbers: (CInt, CInt) = (-1, -1)
      _ = try attempt("make a pair of sockets") { () throws(Errno) in
        try call {
          unsafe withUnsafeMutableBytes(of: &numbers) { bytes in
            unsafe socketpair(
              AF_UNIX, number(SOCK_SEQPACKET) | number(SOCK_CLOEXEC), 0,
              bytes.assumingMemoryBound(to: CInt.self).baseAddress!)
          }
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
      throw UnixAddress.refusal(
        error, operation, at: path, start: "make a MessageListener(at:) there first",
        other: "use the path of a MessageListener")
    }
    self.path = path
  }

  /// - Parameters:
  ///   - type: Of both sockets; with any but `SOCK_SEQPACKET` and `SOCK_DGRAM` messages run together.
  ///   - isBlocking: Whether its calls wait (not `SOCK_NONBLOCK`).
  package init(
    connectedTo path: String, type: SocketType, isBlocking: Bool = true
  ) throws(Errno) {
    fd = try Self.connected(to: path, type: type, isBlocking: isBlocking)
    self.path = path
  }

  private static func connected(
    to path: String, type: SocketType, isBlocking: Bool
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
  /// - Throws: ``HeapError/Code/peerClosed`` when the other end is closed, ``HeapError/Code/outOfRange`` for more bytes than the
  ///   socket's buffer has (`SO_SNDBUF`, socket(7)), ``HeapError/Code/invalidArgs`` for too many descriptors,
  ///   ``HeapError/Code/badHandle`` for one that is not open, ``HeapError/Code/noResources`` where too many are on their way,
  ///   ``HeapError/Code/shouldWait`` where an adopted socket does not wait for room.
  public func send(_ bytes: [UInt8], descriptors: [CInt] = []) throws(HeapError) {
    try send(bytes, descriptors, "send a message")
  }

  func send(
    _ bytes: [UInt8], _ descriptors: [CInt], _ operation: String
  ) throws(HeapError) {
    if descriptors.count > Self.mostDescriptors {
      throw HeapError(
        .invalidArgs, operation, at: path,
        cause:
          "a message carries at most \(Self.mostDescriptors) descriptors, not \(descriptors.count)",
        fix: "send several messages")
    }
    do throws(Errno) {
      try unsafe descriptors.withUnsafeBufferPointer { (descriptors) throws(Errno) in
        unsafe try fd.borrowed.send(bytes, passing: descriptors)
      }
    } catch {
      let (cause, fix): (String?, String?) =
        switch error {
        case .brokenPipe, .connectionReset: ("the other end is closed", "make a new connection")
        case .resourceTemporarilyUnavailable:
          (
            "the other end has not read what was sent before, and this socket does not wait",
            "wait for room: poll(2)"
          )
        case .messageTooLong:
          ("\(bytes.count) bytes are more than the socket takes", "send them in parts, or in a vmo")
        case .tooManyReferences:
          (
            "too many descriptors of this user are in messages that nobody has received",
            "have them received, or raise the limit: \(HeapError.moreDescriptors)"
          )
        case .badFileDescriptor: ("a descriptor that is to go along is not open", nil)
        default: (nil, nil)
        }
      throw HeapError(error, operation, at: path, cause: cause, fix: fix)
    }
  }

  /// Waits for one message.
  ///
  /// - Parameter limit: The most bytes that it may have.
  /// - Returns: Nil when the other end is closed, after all that it had sent.
  /// - Throws: ``HeapError/Code/outOfRange`` for a message of more than `limit` bytes, ``HeapError/Code/invalidArgs`` for one of
  ///   more than ``mostDescriptors`` descriptors or with other ancillary data, ``HeapError/Code/noResources`` where this process
  ///   may open no more files: such a message is lost, and all descriptors that it brought are closed.
  ///   ``HeapError/Code/shouldWait`` where none is there and an adopted socket does not wait.
  public func receive(atMost limit: Int = 65_536) throws(HeapError) -> Message? {
    try receive(atMost: limit, "receive a message")
  }

  func receive(atMost limit: Int, _ operation: String) throws(HeapError) -> Message? {
    var numbers = ReceiveBuffer.noNumbers
    var count = 0
    var fault: Errno?
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: max(limit, 1)) { buffer, filled in
      repeat {
        do throws(Errno) {
          (filled, count, fault) = unsafe try fd.borrowed.receive(
            buffer.baseAddress!, atMost: limit, &numbers)
        } catch {
          fault = error
        }
        // Said once where the other end was closed with messages unread, and before what it had sent.
      } while fault == .connectionReset
    }
    // Owned before anything can be thrown.
    let descriptors = ReceivedDescriptors(adopting: numbers.prefix(count))
    if let fault { throw refusal(fault, operation, limit) }
    if bytes.isEmpty && count == 0 && fd.borrowed.isOver { return nil }
    return Message(bytes: bytes, descriptors: descriptors)
  }

  private func refusal(_ error: Errno, _ operation: String, _ limit: Int) -> HeapError {
    let (cause, fix): (String?, String?) =
      switch error {
      case .resourceTemporarilyUnavailable:
        ("there is none, and this socket does not wait", "wait for one: poll(2)")
      case .messageTooLong:
        ("the message has more than \(limit) bytes", "give it more room: receive(atMost:)")
      case .tooManyOpenFiles:
        ("this process has no room for its descriptors, or a security module keeps them out", nil)
      case .invalidArgument:
        (
          "the message brings more than \(Self.mostDescriptors) descriptors, or other ancillary data",
          "have it sent by a MessageSocket"
        )
      default: (nil, nil)
      }
    return HeapError(error, operation, at: path, cause: cause, fix: fix)
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
    let fault: Errno?
    do throws(Errno) {
      let limit = bytes.count
      (count, descriptorCount, fault) = unsafe try socket.receive(
        &bytes, atMost: limit, &numbers)
    } catch {
      return error == .resourceTemporarilyUnavailable ? .nothing : .end
    }
    // Owned before anything else.
    let descriptors = ReceivedDescriptors(
      adopting: descriptorCount == 0 ? [] : ArraySlice(Array(numbers.prefix(descriptorCount))))
    if fault != nil { return .truncated(descriptors) }
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
    _ type: SocketType, isBlocking: Bool
  ) throws(Errno) -> OwnedFD {
    let flags = number(SOCK_CLOEXEC) | (isBlocking ? 0 : number(SOCK_NONBLOCK))
    return OwnedFD(adopting: try call { socket(AF_UNIX, number(type) | flags, 0) })
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

  /// recvmsg(2) on a socket. The caller owns the first `count` of `numbers`; with a fault the message is not whole.
  fileprivate func receive(
    _ bytes: UnsafeMutablePointer<UInt8>, atMost limit: Int, _ numbers: inout [CInt]
  ) throws(Errno) -> (length: Int, count: Int, fault: Errno?) {
    let socket = rawValue
    var count = 0
    var fault: CInt = 0
    let length = try call {
      unsafe CLinuxHeaps_receive(socket, bytes, limit, &numbers, &count, &fault)
    }
    return (length, count, fault == 0 ? nil : Errno(rawValue: fault))
  }

  /// Tells the connection's end from a message without bytes, for which recvmsg(2) answers 0 as well.
  fileprivate var isOver: Bool {
    var event = pollfd(fd: rawValue, events: Int16(bits(EPOLLRDHUP)), revents: 0)
    return unsafe poll(&event, 1, 0) == 1
  }
}
