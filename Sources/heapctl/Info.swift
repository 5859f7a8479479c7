internal import ArgumentParser
internal import FoundationEssentials
internal import HeapClient
internal import LinuxHeaps

struct Info: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows a heap service's connections, quotas and buffers.")

  @Option(help: ArgumentHelp("The service's socket.", valueName: "path"))
  var socket: String

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  func run() async throws {
    let text = try await reporting { try RemoteHeap(socket: socket).status() }
    if json {
      show(text)
      return
    }
    let status = try JSONDecoder().decode(ServiceStatus.self, from: Data(text.utf8))
    for line in status.lines { show(line) }
  }
}

extension ServiceStatus {
  fileprivate var lines: [String] {
    ["\(heap): \(quota.text), \(orphans) orphans", ""]
      + Table(
        ["USER", "CONNECTIONS", "BUFFERS", "BYTES"],
        users.map { ["\($0.user)", "\($0.connections)"] + $0.quota.cells }
      ).lines + [""]
      + Table(
        ["CONNECTION", "PROTOCOL", "PROCESS", "USER", "REQUESTS", "WAITS", "BUFFERS", "BYTES"],
        connections.map {
          ["\($0.id)", $0.protocol, "\($0.process)", "\($0.user)", "\($0.requests)", "\($0.waits)"]
            + $0.quota.cells
        }
      ).lines + [""]
      + Table(
        ["COLLECTION", "INDEX", "SIZE", "HEAP", "USER", "PROCESS", "ORPHAN"],
        buffers.map {
          [
            "\($0.collection)", "\($0.index)", $0.bytes.asByteCount, $0.heap, "\($0.user)",
            $0.process.map { "\($0)" } ?? "-", $0.orphan ? "yes" : "no",
          ]
        }
      ).lines
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
