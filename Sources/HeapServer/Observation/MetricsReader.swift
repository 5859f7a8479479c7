internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// One reader of the metrics: sends a request and gets a page (HTTP/1.0).
final class MetricsReader {
  let id: UInt64
  let socket: OwnedFD
  private var request: [UInt8] = []
  private var response: ArraySlice<UInt8> = []

  init(_ id: UInt64, _ socket: consuming OwnedFD) {
    self.id = id
    self.socket = socket
  }

  enum Step { case read, write, end }

  /// Goes on as far as the socket lets it. What the request says does not matter: there is one page.
  func step(page: () -> String) -> Step {
    if response.isEmpty {
      guard readRequest() else { return request.isEmpty ? .end : .read }
      let body = page()
      response = ArraySlice(
        ("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
          + "Content-Length: \(body.utf8.count)\r\n\r\n" + body).utf8)
    }
    return write()
  }

  /// True when the request's empty line has come, or so much that it cannot be one.
  private func readRequest() -> Bool {
    var buffer = [UInt8](repeating: 0, count: 2048)
    let number = socket.rawValue
    let count = unsafe read(number, &buffer, buffer.count)
    if count <= 0 {
      // A reader that hung up, or an event without data.
      if count == 0 { request = [] }
      return false
    }
    request += buffer.prefix(count)
    return request.suffix(4) == [13, 10, 13, 10] || request.suffix(2) == [10, 10]
      || request.count > 8192
  }

  private func write() -> Step {
    let number = socket.rawValue
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
