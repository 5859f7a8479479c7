internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The metrics' readers: few, local, and never more important than a client.
final class MetricsReaders {
  private static let most = 8
  private static let mostOfUser = 4

  private var readers: [UInt64: MetricsReader] = [:]
  private var lastID: UInt64 = 0
  private var input = ReceiveBuffer(capacity: 4096)
  private let shared: Shared
  private let listener: Listener?

  init(_ shared: Shared, _ listener: Listener?) throws(Errno) {
    self.shared = shared
    self.listener = listener
    if let number = listener?.fd.rawValue {
      try shared.poller.add(number, EventSource(.metricsListener))
    }
  }

  func accept() {
    let accepted: SharedFD?
    do throws(Errno) { accepted = try listener?.accept() } catch {
      // It would wait in the queue, and the event would come for ever.
      return shared.descriptors.withSpare { _ = try? listener?.accept() }
    }
    guard let accepted, let user = try? Peer(of: accepted.fd).user else { return }
    lastID += 1
    let reader = MetricsReader(lastID, accepted, of: user)
    guard readers.count < Self.most,
      readers.values.count(where: { $0.user == user }) < Self.mostOfUser,
      (try? shared.poller.add(reader.socket.fd.rawValue, EventSource(.metricsReader, lastID)))
        != nil
    else { return shared.closeQueue.letGo(of: reader.socket, of: user) }
    readers[lastID] = reader
    shared.descriptors.add()
    shared.deadlines.set(.metricsReader(lastID), after: shared.accounts.limits.stall)
  }

  func stop() { if let number = listener?.fd.rawValue { shared.poller.remove(number) } }

  func serve(_ event: Poller.Event, page: () -> String) {
    guard let reader = readers[event.source.id] else { return }
    switch event.isWritable ? reader.write() : read(reader, page) {
    case .read: break
    case .write:
      shared.poller.change(
        reader.socket.fd.rawValue, event.source, reading: false, writing: true)
    case .end: close(reader.id)
    }
  }

  /// By recvmsg(2), because read(2) would close passed descriptors on this thread.
  private func read(_ reader: MetricsReader, _ page: () -> String) -> MetricsReader.Step {
    switch input.receive(reader.socket.fd) {
    case .nothing: return .read
    case .end: return .end
    case .truncated(let handles):
      shared.closeQueue.close(handles, of: reader.user)
      return .end
    case .message(let handles):
      shared.closeQueue.close(handles, of: reader.user)
      return reader.take(input.bytes.prefix(input.count), page: page)
    }
  }

  func close(_ id: UInt64) {
    guard let reader = readers.removeValue(forKey: id) else { return }
    shared.poller.remove(reader.socket.fd.rawValue)
    shared.deadlines.cancel(.metricsReader(id))
    shared.descriptors.remove()
    shared.closeQueue.letGo(of: reader.socket, of: reader.user)
  }
}

/// One reader of the metrics: sends a request and gets a page (HTTP/1.0).
private final class MetricsReader {
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
