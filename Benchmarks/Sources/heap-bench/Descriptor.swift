internal import Glibc
internal import Wire

/// A file descriptor that is closed with this value.
struct Descriptor: ~Copyable {
  let number: CInt

  init(adopting number: CInt) { self.number = number }

  deinit { close(number) }

  static func open(_ path: String, _ flags: CInt) throws(Failure) -> Descriptor {
    Descriptor(
      adopting: try check(
        unsafe Glibc.open(path, flags | O_CLOEXEC, mode_t(0o600)), "cannot open \(path)"))
  }

  /// Two ends that keep the borders of messages and close with an exec.
  static func pair() throws(Failure) -> (near: CInt, far: CInt) {
    var ends: (CInt, CInt) = (-1, -1)
    let type = CInt(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue)
    let result = unsafe withUnsafeMutableBytes(of: &ends) { bytes in
      unsafe socketpair(AF_UNIX, type, 0, bytes.assumingMemoryBound(to: CInt.self).baseAddress)
    }
    _ = try check(result, "no pair of sockets")
    return (ends.0, ends.1)
  }

  /// False: nothing to read, and no hang-up, before the deadline.
  func waitToRead(until deadline: ContinuousClock.Instant) -> Bool {
    wait(for: [number], until: deadline) != nil
  }

  struct Message {
    let bytes: [UInt8]
    /// The caller's, to send on and close.
    let descriptor: CInt?
  }

  /// One message of at most 1024 bytes; without bytes when the other side hung up.
  func receive() throws(Failure) -> Message {
    var descriptor: CInt = -1
    var length = -1
    let number = number
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: 1024) { buffer, count in
      length = unsafe Wire_receive(number, buffer.baseAddress!, buffer.count, 0, &descriptor)
      count = max(length, 0)
    }
    if length < 0 && errno != ECONNRESET { throw .errno("nothing received") }
    return Message(bytes: bytes, descriptor: descriptor < 0 ? nil : descriptor)
  }

  func send(_ bytes: [UInt8], passing descriptor: CInt = -1) throws(Failure) {
    guard unsafe Wire_send(number, bytes, bytes.count, descriptor) else {
      throw .errno("nothing sent")
    }
  }
}

/// The first of these that can be read or hung up, or nil at the deadline.
func wait(for descriptors: [CInt], until deadline: ContinuousClock.Instant) -> CInt? {
  var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
  while true {
    let rest = max(ContinuousClock.now.duration(to: deadline), .zero)
    // Rounded up: a wait that ends early would end without an answer.
    let result = unsafe poll(&polled, nfds_t(polled.count), CInt(rest.milliseconds.rounded(.up)))
    if result > 0 { return polled.first { $0.revents != 0 }?.fd }
    if result == 0 { return nil }
    precondition(errno == EINTR, "poll fails for no other reason")
  }
}
