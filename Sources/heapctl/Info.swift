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
    let status = try JSONDecoder().decode(Status.self, from: Data(text.utf8))
    for line in status.lines { show(line) }
  }

  /// As the service tells it.
  struct Status: Decodable {
    struct Quota: Decodable {
      let buffers: UInt64
      let bytes: UInt64
      let maxBuffers: UInt64
      let maxBytes: UInt64
    }

    struct User: Decodable {
      let user: UInt64
      let connections: UInt64
      let quota: Quota
    }

    struct Connection: Decodable {
      let id: UInt64
      let `protocol`: String
      let process: UInt64
      let user: UInt64
      let requests: UInt64
      let waits: UInt64
      let quota: Quota
    }

    struct Buffer: Decodable {
      let collection: UInt64
      let index: UInt64
      let bytes: UInt64
      let heap: String
      let user: UInt64
      let process: UInt64?
      let orphan: Bool
    }

    let heap: String
    let quota: Quota
    let orphans: UInt64
    let users: [User]
    let connections: [Connection]
    let buffers: [Buffer]
  }
}

extension Info.Status {
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

extension Info.Status.Quota {
  fileprivate var cells: [String] {
    ["\(buffers) of \(maxBuffers)", "\(bytes.asByteCount) of \(maxBytes.asByteCount)"]
  }

  fileprivate var text: String {
    "\(buffers) of \(maxBuffers) buffers, \(bytes.asByteCount) of \(maxBytes.asByteCount)"
  }
}
