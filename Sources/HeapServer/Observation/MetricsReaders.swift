internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// The metrics' readers: few, local, and never more important than a client.
final class MetricsReaders {
  private static let most = 32
  private static let mostOfUser = 4

  private var readers: [UInt64: MetricsReader] = [:]
  private var lastID: UInt64 = 0
  fileprivate static let longestRequest = 8192
  private var input = ReceiveBuffer(capacity: longestRequest)
  private let shared: Shared
  private let entrance: Entrance

  init(_ shared: Shared, _ entrance: Entrance) {
    self.shared = shared
    self.entrance = entrance
  }

  func accept() { entrance.accept(at: .metricsListener) { admit($0) } }

  private func admit(_ accepted: ClientSocket) {
    lastID += 1
    let reader = MetricsReader(lastID, accepted)
    guard readers.count < Self.most, let peer = accepted.peer, shared.hasDescriptors(for: peer),
      readers.values.count(where: { $0.socket.user == peer.user }) < Self.mostOfUser,
      peer.fileClass == .owner || readers.count < Self.most / 2
        || !readers.values.contains(where: { $0.socket.user == peer.user }),
      (try? shared.poller.add(
        accepted.borrowed.rawValue, EventSource(.metricsReader, lastID), onChange: true)) != nil
    else { return }
    readers[lastID] = reader
    shared.descriptors.add()
    shared.deadlines.set(.metricsReader(lastID), after: shared.accounts.limits.stall)
  }

  func serve(_ event: Poller.Event, page: () -> String) {
    guard let reader = readers[event.source.id] else { return }
    switch event.isWritable ? reader.write() : read(reader, event, page) {
    case .read: break
    case .write:
      shared.poller.change(
        reader.socket.borrowed.rawValue, event.source, reading: false, writing: true)
    case .end: close(reader.id)
    }
  }

  /// A request is looked at and stays in the socket: with it would come whatever its sender passed along.
  private func read(
    _ reader: MetricsReader, _ event: Poller.Event, _ page: () -> String
  ) -> MetricsReader.Step {
    // Nothing tells of what is there a second time.
    guard let bytes = try? input.peek(reader.socket.borrowed) else { return .end }
    if reader.isWhole(bytes) { return reader.answer(page()) }
    return event.isHungUp ? .end : .read
  }

  func close(_ id: UInt64) {
    guard let reader = readers.removeValue(forKey: id) else { return }
    shared.poller.remove(reader.socket.borrowed.rawValue)
    shared.deadlines.cancel(.metricsReader(id))
    shared.descriptors.remove()
  }
}

/// One reader of the metrics: sends a request and gets a page (HTTP/1.0).
private final class MetricsReader {
  let id: UInt64
  let socket: ClientSocket
  private var response: ArraySlice<UInt8> = []

  init(_ id: UInt64, _ socket: ClientSocket) {
    self.id = id
    self.socket = socket
  }

  enum Step { case read, write, end }

  /// What the request says does not matter: there is one page.
  func answer(_ body: String) -> Step {
    response = ArraySlice(
      ("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
        + "Content-Length: \(body.utf8.count)\r\n\r\n" + body).utf8)
    return write()
  }

  /// Its empty line has come, or it is too long for a request.
  func isWhole(_ request: ArraySlice<UInt8>) -> Bool {
    request.suffix(4) == [13, 10, 13, 10] || request.suffix(2) == [10, 10]
      || request.count == MetricsReaders.longestRequest
  }

  /// Sends as much as the socket takes.
  func write() -> Step {
    let number = socket.borrowed.rawValue
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
