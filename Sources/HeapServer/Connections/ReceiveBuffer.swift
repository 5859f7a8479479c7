internal import CLinuxHeaps
internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import SystemPackage

/// Room for one message, used for all.
struct ReceiveBuffer {
  enum Arrival: ~Copyable {
    case message(Incoming)
    case nothing
    /// Of an end, or of a connection that broke.
    case end
    /// More bytes or handles than a message has, or handles that this process had no room for. What
    /// came is closed with this value.
    case truncated(ReceivedDescriptors)
  }

  struct Incoming: ~Copyable {
    /// Bytes of the buffer.
    let count: Int
    let handles: ReceivedDescriptors
  }

  private(set) var bytes = [UInt8](repeating: 0, count: WireLimits.maxBytes)
  private var numbers = [CInt](repeating: -1, count: Int(CLinuxHeaps_MAX_ARRIVING))

  /// One message from a socket that does not block.
  mutating func receive(_ socket: borrowing OwnedFD) -> Arrival {
    let descriptor = socket.rawValue
    let capacity = bytes.count
    var count = 0
    var isTruncated = false
    var length = -1
    repeat {
      length = unsafe bytes.withUnsafeMutableBufferPointer { bytes in
        unsafe numbers.withUnsafeMutableBufferPointer { numbers in
          unsafe CLinuxHeaps_receive(
            descriptor, bytes.baseAddress!, capacity, numbers.baseAddress!, &count, &isTruncated)
        }
      }
    } while length < 0 && errno == EINTR
    if length < 0 { return errno == EAGAIN ? .nothing : .end }
    // Owned before anything else.
    let handles = ReceivedDescriptors(
      adopting: count == 0 ? [] : ArraySlice(Array(numbers.prefix(count))))
    if isTruncated { return .truncated(handles) }
    if length == 0 && count == 0 && Self.isOver(descriptor) { return .end }
    return .message(Incoming(count: length, handles: handles))
  }

  /// recvmsg(2) answers 0 for a message without bytes and for the end.
  private static func isOver(_ socket: CInt) -> Bool {
    var event = pollfd(fd: socket, events: Int16(EPOLLRDHUP.rawValue), revents: 0)
    return unsafe poll(&event, 1, 0) == 1
  }
}
