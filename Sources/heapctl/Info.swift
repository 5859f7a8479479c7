internal import ArgumentParser
internal import FoundationEssentials
internal import HeapClient
internal import LinuxHeaps

struct Info: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows a heap service's connections, quotas and buffers.")

  @Option(help: ArgumentHelp("The service's socket.", valueName: "path"), completion: .file())
  var socket = UnixAddress.heapService

  @OptionGroup var output: OutputChoice

  func run() async throws {
    let text = try RemoteHeap(socket: socket, deadline: .seconds(10)).status()
    if output.json { return show(text) }
    let status = try JSONDecoder().decode(ServiceStatus.self, from: Data(text.utf8))
    status.lines.forEach(show)
  }
}

extension ServiceStatus {
  fileprivate var lines: [String] {
    var lines = ["\(heap): \(quota.text), \(orphans) orphans"]
    if let groupQuota { lines.append("  who comes by the socket's group: \(groupQuota.text)") }
    if let othersQuota { lines.append("  others: \(othersQuota.text)") }
    if let clientMemory {
      lines.append("  clients' own memory: " + (clientMemory ? "taken" : "not taken"))
    }
    if let pool { lines.append(pool.text) }
    for rows in [userRows, connectionRows, bufferRows] { lines += [""] + rows }
    return lines
  }

  private var userRows: [String] {
    table(
      ["USER", "CONNECTIONS", "BUFFERS", "BYTES"],
      users.map { ["\($0.user)", "\($0.connections)"] + $0.quota.cells })
  }

  private var connectionRows: [String] {
    table(
      ["CONNECTION", "PROTOCOL", "PROCESS", "USER", "REQUESTS", "WAITS", "BUFFERS", "BYTES"],
      connections.map {
        ["\($0.id)", $0.protocol, "\($0.process)", "\($0.user)", "\($0.requests)", "\($0.waits)"]
          + $0.quota.cells
      })
  }

  private var bufferRows: [String] {
    table(
      ["COLLECTION", "INDEX", "SIZE", "HEAP", "USER", "PROCESS", "ORPHAN"],
      buffers.map {
        [
          "\($0.collection)", "\($0.index)", $0.bytes.asByteCount, $0.heap, "\($0.user)",
          $0.process.map { "\($0)" } ?? "-", $0.orphan ? "yes" : "no",
        ]
      })
  }
}

extension ServiceStatus.Pool {
  fileprivate var text: String {
    "  pool: ready \(ready), \(bytes.asByteCount) in all; requests served \(hits), not served \(misses); "
      + "buffers not kept \(refused)"
  }
}

extension ServiceStatus.Quota {
  fileprivate var cells: [String] {
    ["\(buffers) of \(maxBuffers)", "\(bytes.asByteCount) of \(maxBytes.asByteCount)"]
  }

  fileprivate var text: String {
    "\(buffers) of \(maxBuffers) buffers, \(bytes.asByteCount) of \(maxBytes.asByteCount)"
  }
}
