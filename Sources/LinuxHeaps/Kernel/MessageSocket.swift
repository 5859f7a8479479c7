internal import CLinuxHeaps
internal import Glibc

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

  /// Sends one message. Descriptors that go along are dups: the sender keeps its own.
  ///
  /// Throws `EPIPE` when the other end is closed and `EINVAL` for more than
  /// ``mostDescriptors`` descriptors.
  public func send(_ bytes: [UInt8], descriptors: [CInt] = []) throws(Errno) {
    let socket = fd.rawValue
    _ = try call {
      unsafe bytes.withUnsafeBufferPointer { bytes in
        unsafe descriptors.withUnsafeBufferPointer { descriptors in
          var none: UInt8 = 0
          return unsafe CLinuxHeaps_send(
            socket, bytes.baseAddress ?? withUnsafePointer(to: &none) { unsafe $0 }, bytes.count,
            descriptors.baseAddress, descriptors.count)
        }
      }
    }
  }

  /// Waits for one message; nil when the other end is closed.
  ///
  /// Throws `EMSGSIZE` for a message of more than `limit` bytes, of more than ``mostDescriptors``
  /// descriptors, or with other ancillary data; all descriptors that it brought are closed.
  public func receive(atMost limit: Int = 65_536) throws(Errno) -> Message? {
    let socket = fd.rawValue
    var numbers = [CInt](repeating: -1, count: Int(CLinuxHeaps_MAX_ARRIVING))
    var count = 0
    var isTruncated = false
    var failure: Errno?
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: max(limit, 1)) { buffer, filled in
      do throws(Errno) {
        filled = try call {
          unsafe CLinuxHeaps_receive(
            socket, buffer.baseAddress!, limit, &numbers, &count, &isTruncated)
        }
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    // Owned before anything can be thrown.
    let descriptors = ReceivedDescriptors(adopting: numbers.prefix(count))
    if isTruncated { throw .messageTooLong }
    if bytes.isEmpty && count == 0 { return nil }
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

  /// Takes one out of the order; the others keep theirs.
  package mutating func take(at index: Int) -> OwnedFD {
    OwnedFD(adopting: numbers.remove(at: numbers.startIndex + index))
  }

  /// The next one, in the order of sending; nil after the last.
  public mutating func next() -> OwnedFD? { numbers.popFirst().map(OwnedFD.init(adopting:)) }
}
