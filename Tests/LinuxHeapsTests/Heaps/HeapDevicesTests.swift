import Foundation
import Glibc
import Testing

@testable import LinuxHeaps

/// Which heaps a request may be served from, kept from one request to the next.
@Suite struct HeapDevicesTests {
  @Test func `a heap that appears is found with the next request, and one that goes is not`() throws
  {
    let machine = try HeapNodes(["system"])
    let devices = HeapDevices(machine.catalog, chosen: nil)
    #expect(devices.candidates(.system).map(\.name) == ["system"])
    #expect(devices.candidates(.contiguous).map(\.name) == [])
    try machine.add("reserved", device: "zero")
    #expect(devices.candidates(.contiguous).map(\.name) == ["reserved"])
    try FileManager.default.removeItem(atPath: machine.nodes.path + "/reserved")
    #expect(devices.candidates(.contiguous).map(\.name) == [])
  }

  @Test
  func `a directory that has been as it is for a while is seldom asked of, and not read again`()
    throws
  {
    let machine = try HeapNodes(["system"])
    try Self.age(machine.nodes.path)
    let devices = HeapDevices(machine.catalog, chosen: nil)
    let first = devices.candidates(.system)
    #expect(devices.candidates(.system).first === first.first)
    // And is, once it changed and that was asked.
    try machine.add("reserved", device: "zero")
    usleep(25_000)
    #expect(devices.candidates(.system).first !== first.first)
    #expect(devices.candidates(.contiguous).map(\.name) == ["reserved"])
  }

  @Test func `what is closed is opened again`() throws {
    let machine = try HeapNodes(["system"])
    try Self.age(machine.nodes.path)
    let devices = HeapDevices(machine.catalog, chosen: nil)
    let first = devices.candidates(.system)
    devices.close()
    #expect(devices.candidates(.system).map(\.name) == ["system"])
    #expect(devices.candidates(.system).first !== first.first)
  }

  @Test func `chosen heaps keep their order, and what they are known not to be`() throws {
    let machine = try HeapNodes(["system", "reserved"])
    let devices = HeapDevices(
      machine.catalog, chosen: ["vendor", "reserved", "protected,secure-video", "system"])
    #expect(devices.candidates(.system).map(\.name) == ["vendor", "reserved", "system"])
    #expect(devices.candidates(.contiguous).map(\.name) == ["vendor", "reserved"])
  }

  /// As if nothing had changed in a directory for an hour.
  private static func age(_ path: String) throws {
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSinceNow: -3600)], ofItemAtPath: path)
  }
}
