internal import CHeapWire
internal import Foundation
internal import Glibc

/// Why nothing could be measured, in words for whoever ran it.
struct Failure: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }

  /// A failed call, with the cause that it left in `errno`.
  static func errno(_ what: String) -> Failure {
    let cause = unsafe String(cString: strerror(Glibc.errno))
    return Failure("\(what): \(cause)")
  }
}

/// Returns what the call returned, or throws what `errno` says where that is negative.
func check(_ result: CInt, _ what: @autoclosure () -> String) throws(Failure) -> CInt {
  if result < 0 { throw .errno(what()) }
  return result
}

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
    guard unsafe Wire_send(number, bytes, bytes.count, descriptor, 0) else {
      throw .errno("nothing sent")
    }
  }
}

/// The first of these that can be read or hung up, or nil at the deadline.
func wait(for descriptors: [CInt], until deadline: ContinuousClock.Instant) -> CInt? {
  var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
  while true {
    let rest = max(ContinuousClock.now.duration(to: deadline), .zero) / .milliseconds(1)
    // Rounded up: a wait that ends early would end without an answer.
    let result = unsafe poll(&polled, nfds_t(polled.count), CInt(rest.rounded(.up)))
    if result > 0 { return polled.first { $0.revents != 0 }?.fd }
    if result == 0 { return nil }
    precondition(errno == EINTR, "poll fails for no other reason")
  }
}

/// Lets time go by without using a processor.
func rest(for duration: Duration) { Thread.sleep(forTimeInterval: duration / .seconds(1)) }

/// A directory for sockets and logs that is removed with this value.
struct Scratch: ~Copyable {
  let path: String

  init() throws(Failure) {
    // Short, since a socket's path has room for 107 bytes.
    var template = Array("/tmp/heap-bench.XXXXXX".utf8CString)
    guard unsafe mkdtemp(&template) != nil else { throw .errno("no directory in /tmp") }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The end of what each server said, under its name; empty where none said anything.
  func logs() -> String {
    var text = ""
    for name in names(in: path).sorted() where name.hasSuffix(".log") {
      let lines = (readText("\(path)/\(name)") ?? "").split(separator: "\n").suffix(20)
      for line in lines { text += "\n\(name.dropLast(4)): \(line)" }
    }
    return text
  }

  func write(_ text: String, as name: String) throws(Failure) -> String {
    let path = "\(path)/\(name)"
    do { try Data(text.utf8).write(to: URL(filePath: path)) } catch {
      throw Failure("cannot write \(path): \(error)")
    }
    return path
  }
}

/// The whole text of a file, or nil where it cannot be read: what it tells of may just have gone.
func readText(_ path: String) -> String? {
  (try? Data(contentsOf: URL(filePath: path))).map { String(decoding: $0, as: UTF8.self) }
}

/// The names in a directory; none where it cannot be read.
func names(in path: String) -> [String] {
  (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
}
