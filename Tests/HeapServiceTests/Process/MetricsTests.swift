import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

@Suite struct MetricsTests {
  /// The page, by an HTTP client of its own kind.
  private static func page(_ socket: String) throws -> String {
    let script = """
      import http.client, socket, sys
      class Connection(http.client.HTTPConnection):
          def connect(self):
              self.sock = socket.socket(socket.AF_UNIX)
              self.sock.connect(sys.argv[1])
      connection = Connection("localhost")
      connection.request("GET", "/metrics")
      response = connection.getresponse()
      assert response.status == 200, response.status
      print(response.read().decode(), end="")
      """
    let python = Process()
    python.executableURL = URL(fileURLWithPath: "/usr/bin/python3")
    python.arguments = ["-c", script, socket]
    let output = Pipe()
    python.standardOutput = output
    try python.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    python.waitUntilExit()
    return text
  }

  @Test func `the page counts what clients did`() throws {
    let folder = try TemporaryFolder()
    let socket = folder.path + "/metrics.sock"
    let daemon = try Daemon(arguments: ["--metrics-socket", socket])
    let client = try WireClient.heap(daemon)
    var first: SharedFD? = try client.allocate(0, size: 2 * pageSize)
    let orphan: SharedFD
    do { orphan = try WireClient.heap(daemon).allocate(1) }
    #expect(try client.refusal(2, size: 0) == .invalidArgs)
    try client.delete(0, &first)
    // Nothing was there to be reclaimed.
    try client.receiveDeleted(client.sendDelete(3, OddFile.memfd()))
    var text = ""
    let lines = [
      "heapd_allocations_total{heap=\"memfd\"} 2", "heapd_buffers{heap=\"memfd\"} 1",
      "heapd_bytes{heap=\"memfd\"} \(pageSize)",
      "heapd_bytes_high_water{heap=\"memfd\"} \(3 * pageSize)",
      "heapd_allocations_failed_total{cause=\"INVALID_ARGS\"} 1", "heapd_orphans 1",
      "heapd_reclaim_seconds_count 1", "heapd_connections 1",
    ]
    let isThere = try eventually {
      text = try Self.page(socket)
      return lines.allSatisfy { text.contains("\n\($0)\n") }
    }
    #expect(isThere, "\(text)")
    withExtendedLifetime(orphan) {}
  }

  /// A stream that is closed with bytes unread ends with ECONNRESET for its peer.
  @Test(arguments: [18, 8192, 20_000])
  func `a reader that is slow finds the page's end`(_ length: Int) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/metrics.sock"
    let daemon = try Daemon(arguments: ["--metrics-socket", path])
    let before = try daemon.settledDescriptorCount()
    let reader = SharedFD(try SocketFile.connected(path, SOCK_STREAM))
    let request = Array("GET / HTTP/1.0".utf8) + Array(repeating: 32, count: length - 18)
    try WireClient.send(on: reader.fd.rawValue, request + [13, 10, 13, 10], [])
    var event = pollfd(fd: reader.fd.rawValue, events: Int16(POLLIN), revents: 0)
    #expect(unsafe poll(&event, 1, 60_000) == 1)
    let isClosed = try eventually { try daemon.descriptorCount <= before }
    #expect(isClosed)
    let page = try FileHandle(fileDescriptor: reader.fd.rawValue).readToEnd()
    #expect(try #require(page).starts(with: Array("HTTP/1.0 200 OK\r\n".utf8)))
  }

  /// Silent, and without a descriptor for who comes after it.
  @Test(arguments: ["", "GET / HTTP/1.0"])
  func `a reader whose request does not end is dropped, and makes room`(_ request: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/metrics.sock"
    let daemon = try Daemon(
      configuration: "stall-seconds = 5", arguments: ["--metrics-socket", path])
    let before = try daemon.settledDescriptorCount()
    let readers = try (0..<4).map { _ in SharedFD(try SocketFile.connected(path, SOCK_STREAM)) }
    for reader in readers where !request.isEmpty {
      try WireClient.send(on: reader.fd.rawValue, Array(request.utf8), [])
    }
    let areIn = try eventually { try daemon.descriptorCount >= before + readers.count }
    #expect(areIn)
    let areOut = try eventually { try daemon.descriptorCount <= before }
    #expect(areOut)
    #expect(try Self.page(path).contains("heapd_connections"))
    withExtendedLifetime(readers) {}
  }
}
