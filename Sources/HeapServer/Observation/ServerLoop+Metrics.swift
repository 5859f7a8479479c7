internal import Glibc
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// The metrics' readers: few, local, and never more important than a client.

extension ServerLoop {
  private static let mostReaders = 8
  private static let mostReadersOfUser = 4

  func acceptMetricsReader() {
    let accepted: OwnedFD?
    do throws(Errno) { accepted = try sockets.acceptMetricsReader() } catch {
      // It would wait in the queue, and the event would come for ever.
      return headroom.withSpare { _ = try? sockets.acceptMetricsReader() }
    }
    guard let accepted, let user = try? Peer(of: accepted).user else { return }
    let reader = MetricsReader(newID(), SharedFD(accepted), of: user)
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

  /// By recvmsg(2), because read(2) would close what was passed, here and now.
  private func read(_ reader: MetricsReader) -> MetricsReader.Step {
    switch input.receive(reader.socket.fd) {
    case .nothing: return .read
    case .end: return .end
    case .truncated(let handles):
      disposer.close(handles, of: reader.user)
      return .end
    case .message(let message):
      let bytes = input.bytes
      let count = message.count
      disposer.close(message.handles, of: reader.user)
      return reader.take(bytes.span.extracting(0..<count), page: metricsPage)
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
