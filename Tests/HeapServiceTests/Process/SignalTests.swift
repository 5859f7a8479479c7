import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

@Suite struct SignalTests {
  @Test func `SIGHUP takes new limits, and nothing of a file with a fault`() throws {
    let daemon = try Daemon(configuration: "connection-buffers = 1\n")
    let path = daemon.folder + "/heapd.conf"
    let client = try WireClient.heap(daemon)
    let kept = try client.allocate(0)
    #expect(try client.refusal(1) == .noResources)

    try "connection-buffers = none\n".write(toFile: path, atomically: true, encoding: .utf8)
    Glibc.kill(daemon.identifier, SIGHUP)
    try daemon.expectLog("reload failed", "read line 1")
    #expect(try client.refusal(1) == .noResources)

    try "connection-buffers = 2\n".write(toFile: path, atomically: true, encoding: .utf8)
    Glibc.kill(daemon.identifier, SIGHUP)
    try daemon.expectLog("configuration reloaded")
    #expect(try client.refusal(1) == nil)
    withExtendedLifetime(kept) {}
  }

  @Test func `SIGTERM ends it cleanly, and frees nothing that a client holds`() throws {
    let daemon = try Daemon()
    let client = try WireClient.heap(daemon)
    let buffer = try client.allocate(0)
    #expect(daemon.stop() == 0)
    #expect(try client.receive() == nil)
    #expect(!FileManager.default.fileExists(atPath: daemon.socket))
    #expect(!FileManager.default.fileExists(atPath: daemon.observer))
    var status = stat()
    unsafe fstat(buffer.fd.rawValue, &status)
    #expect(UInt64(status.st_size) == pageSize)
  }
}
