internal import Glibc
internal import LinuxHeaps

/// One reader of the metrics: sends a request and gets a page (HTTP/1.0).
final class MetricsReader {
  let id: UInt64
  let socket: SharedFD
  let user: uid_t
  private var request: [UInt8] = []
  private var response: ArraySlice<UInt8> = []

  init(_ id: UInt64, _ socket: SharedFD, of user: uid_t) {
    self.id = id
    self.socket = socket
    self.user = user
  }

  enum Step { case read, write, end }

  /// Goes on with what came. What the request says does not matter: there is one page.
  func take(_ bytes: Span<UInt8>, page: () -> String) -> Step {
    for index in bytes.indices { request.append(bytes[index]) }
    guard hasRequest else { return .read }
    let body = page()
    response = ArraySlice(
      ("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
        + "Content-Length: \(body.utf8.count)\r\n\r\n" + body).utf8)
    return write()
  }

  /// Its empty line has come, or so much that it cannot be one.
  private var hasRequest: Bool {
    request.suffix(4) == [13, 10, 13, 10] || request.suffix(2) == [10, 10] || request.count > 8192
  }

  /// Goes on as far as the socket lets it.
  func write() -> Step {
    let number = socket.fd.rawValue
    while !response.isEmpty {
      let count = unsafe response.withUnsafeBytes {
        unsafe send(number, $0.baseAddress!, $0.count, CInt(MSG_NOSIGNAL))
      }
      if count < 0 { return errno == EAGAIN ? .write : .end }
      response = response.dropFirst(count)
    }
    return .end
  }
}
