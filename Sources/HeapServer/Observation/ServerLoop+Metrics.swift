internal import Glibc
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// The metrics' readers: few, local, and never more important than a client.

extension ServerLoop {
  private static let mostReaders = 8
  private static let mostReadersOfUser = 4

  func acceptMetricsReader() {
    let accepted: SharedFD?
    do throws(Errno) { accepted = try sockets.metrics?.accept() } catch {
      // It would wait in the queue, and the event would come for ever.
      return headroom.withSpare { _ = try? sockets.metrics?.accept() }
    }
    guard let accepted, let user = try? Peer(of: accepted.fd).user else { return }
    let reader = MetricsReader(newID(), accepted, of: user)
    guard metricsReaders.count < Self.mostReaders,
      metricsReaders.values.count(where: { $0.user == user }) < Self.mostReadersOfUser,
      (try? poller.add(reader.socket.fd.rawValue, EventSource(.metricsReader, reader.id))) != nil
    else { return letGo(of: reader.socket, of: user) }
    metricsReaders[reader.id] = reader
    deadlines.set(.metricsReader(reader.id), after: policy.limits.stall)
  }

  func serve(_ reader: MetricsReader, isWritable: Bool) {
    switch isWritable ? reader.write() : read(reader) {
    case .read: break
    case .write:
      poller.change(
        reader.socket.fd.rawValue, EventSource(.metricsReader, reader.id), reading: false,
        writing: true)
    case .end: close(reader)
    }
  }

  /// By recvmsg(2), because read(2) would close passed descriptors on this thread.
  private func read(_ reader: MetricsReader) -> MetricsReader.Step {
    switch input.receive(reader.socket.fd) {
    case .nothing: return .read
    case .end: return .end
    case .truncated(let handles):
      closeQueue.close(handles, of: reader.user)
      return .end
    case .message(let handles):
      closeQueue.close(handles, of: reader.user)
      return reader.take(input.bytes.prefix(input.count), page: metricsPage)
    }
  }

  func close(_ reader: MetricsReader) {
    poller.remove(reader.socket.fd.rawValue)
    deadlines.cancel(.metricsReader(reader.id))
    metricsReaders[reader.id] = nil
    letGo(of: reader.socket, of: reader.user)
  }

  private func metricsPage() -> String {
    metrics.show(connections: connections.count, orphans: orphanCount)
    return sockets.metricsPage()
  }

  /// Live buffers whose connection is gone.
  var orphanCount: Int { ledger.charges.values.count { $0.isOrphan } }
}

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

  /// Takes more of the request. What it says does not matter: there is one page.
  func take(_ bytes: ArraySlice<UInt8>, page: () -> String) -> Step {
    request += bytes
    guard hasRequest else { return .read }
    let body = page()
    response = ArraySlice(
      ("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
        + "Content-Length: \(body.utf8.count)\r\n\r\n" + body).utf8)
    return write()
  }

  /// Its empty line has come, or it is too long for a request.
  private var hasRequest: Bool {
    request.suffix(4) == [13, 10, 13, 10] || request.suffix(2) == [10, 10] || request.count > 8192
  }

  /// Sends as much as the socket takes.
  func write() -> Step {
    let number = socket.fd.rawValue
    do throws(Errno) {
      while !response.isEmpty {
        let count = try call {
          unsafe response.withUnsafeBytes {
            unsafe send(number, $0.baseAddress!, $0.count, CInt(MSG_NOSIGNAL))
          }
        }
        response = response.dropFirst(count)
      }
      return .end
    } catch {
      return error == .resourceTemporarilyUnavailable ? .write : .end
    }
  }
}
