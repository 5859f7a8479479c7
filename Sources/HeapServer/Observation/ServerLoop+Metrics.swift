internal import LinuxHeaps
internal import Logging
internal import SystemPackage

// The metrics' readers: few, local, and never more important than a client.

extension ServerLoop {
  private static let mostReaders = 8

  func acceptMetricsReader() {
    guard let socket = (try? sockets.acceptMetricsReader()) ?? nil else { return }
    guard metricsReaders.count < Self.mostReaders else { return }
    let reader = MetricsReader(newID(), socket)
    guard (try? poller.add(reader.socket.rawValue, EventSource(.metricsReader, reader.id))) != nil
    else { return }
    metricsReaders[reader.id] = reader
    deadlines.set(.metricsReader(reader.id), after: policy.limits.stall)
  }

  func serve(_ reader: MetricsReader) {
    switch reader.step(page: metricsPage) {
    case .read: break
    case .write:
      poller.change(
        reader.socket.rawValue, EventSource(.metricsReader, reader.id), reading: false,
        writing: true)
    case .end: close(reader)
    }
  }

  func close(_ reader: MetricsReader) {
    poller.remove(reader.socket.rawValue)
    deadlines.cancel(.metricsReader(reader.id))
    metricsReaders[reader.id] = nil
  }

  private func metricsPage() -> String {
    metrics.show(connections: connections.count, orphans: orphanCount)
    return sockets.metricsPage()
  }

  /// Live buffers whose connection is gone.
  var orphanCount: Int { ledger.charges.values.count { $0.isOrphan } }
}
