import Foundation
import LinuxHeaps
import LinuxHeapsDRM
import SystemPackage
import TestSupport
import Testing

/// Buffers of the system heap that no descriptor is left of.
@Suite(.serialized, .enabled(if: Leak.isPossible, "needs root, the system heap and debugfs"))
struct LeakTests {
  @Test func `a mapping alone is told with the buffer's size, heap and name`() throws {
    let vmo = try Leak.allocate("mapped only")
    let inode = vmo.identity.inode
    let mapping = vmo.withDescriptor { Leak.Mapping($0) }
    _ = consume vmo
    let buffer = try Leak.buffer(inode)
    #expect(buffer["heap"] as? String == "system")
    #expect(buffer["sizeBytes"] as? Int == 1 << 20)
    #expect(buffer["name"] as? String == "mapped only")
    #expect(buffer["heldBeyond"] as? Int == 0)
    let holders = try #require(buffer["holders"] as? [[String: Any]])
    #expect(holders.map { $0["process"] as? Int32 } == [getpid()])
    #expect(holders.map { $0["descriptors"] as? Int } == [0])
    #expect(holders.map { $0["mappings"] as? Int } == [1])
    _ = consume mapping
    #expect(try Leak.isGone(inode))
  }

  @Test(.enabled(if: Leak.device != nil, "needs vgem or vkms"))
  func `a buffer that only a device holds is told with the device and who has it open`() throws {
    guard let device = DRMDevice(drivers: ["vgem", "vkms"]) else {
      Issue.record("the device went away")
      return
    }
    #expect(try DoctorRun().finding("memory.device-only") == nil)
    let vmo = try Leak.allocate("imported only")
    let inode = vmo.identity.inode
    let handle = try device.importBuffer(vmo)
    _ = consume vmo
    let buffer = try Leak.buffer(inode)
    #expect((buffer["holders"] as? [Any])?.isEmpty == true)
    #expect(buffer["heldBeyond"] as? Int == 3)
    let importer = try #require((buffer["devices"] as? [String])?.first)
    let devices = try #require(try Leak.report()["devices"] as? [[String: Any]])
    let row = try #require(devices.first { $0["device"] as? String == importer })
    #expect(row["buffers"] as? Int == 1)
    #expect(row["sizeBytes"] as? Int == 1 << 20)
    let openers = try #require(row["openIn"] as? [[String: Any]])
    #expect(openers.contains { $0["process"] as? Int32 == getpid() })
    let text = try Run.heapctl("holders").output
    #expect(text.contains("  no process: 3 references, imported by \(importer)\n"), "\(text)")
    #expect(text.contains("process \(getpid()) ("), "\(text)")

    let found = try #require(try DoctorRun().finding("memory.device-only"))
    #expect(found.severity == "warning")
    #expect(found.seen.hasPrefix("1 buffer, 1 MiB, in no process: imported by \(importer) (/dev/"))
    #expect(found.fix?.hasPrefix("ps -o pid,user,args -p ") == true)
    #expect(found.fix?.contains("\(getpid())") == true)
    _ = consume handle
    #expect(try Leak.isGone(inode))
    #expect(try DoctorRun().finding("memory.device-only") == nil)
  }

  @Test func `a message in flight is all that is left, and its recipient is named`() throws {
    let pair = try MessageSocket.Pair()
    let vmo = try Leak.allocate("sent only")
    let inode = vmo.identity.inode
    try pair.near.send([0], passing: vmo)
    _ = consume vmo
    let run = try Run.heapctl("holders")
    #expect(
      run.output.contains(
        "  nobody seen: 1 reference, in a message in flight, or in the kernel\n"), "\(run.output)")
    let recipients = try #require(try Leak.report()["recipients"] as? [[String: Any]])
    let own = try #require(recipients.first { $0["process"] as? Int32 == getpid() })
    #expect(own["descriptors"] as? Int == 1)
    #expect(run.output.contains("in messages that process \(getpid()) ("), "\(run.output)")
    #expect(try DoctorRun().finding("memory.unseen-holder")?.severity == "note")
    _ = consume pair
    #expect(try Leak.isGone(inode))
  }

  @Test func `without debugfs a device is one of those that it can be`() throws {
    let hidden = Prefix.namespace("mount -t tmpfs none /sys/kernel/debug")
    let report = try Run.heapctl("holders", "--json", through: hidden).json
    let unseen = (report["holders"] as? [String: Any])?["unseen"] as? [String: Any]
    let finding = try DoctorRun(through: hidden).finding("memory.holders-unknown")
    #expect((finding != nil) == (unseen?["debugfs"] != nil))
    if let finding {
      #expect(finding.severity == "note")
      #expect(finding.fix?.isEmpty == false)
    } else {
      let pair = try MessageSocket.Pair()
      let vmo = try Leak.allocate("sent only")
      try pair.near.send([0], passing: vmo)
      _ = consume vmo
      let run = try Run.heapctl("holders", through: hidden)
      #expect(
        run.output.contains(
          "  nobody seen: 1 reference, imported by a device, in a message in flight, or in the kernel\n"
        ), "\(run.output)")
      _ = consume pair
    }
  }

  @Test(.enabled(if: Leak.device != nil, "needs vgem or vkms"))
  func `a device that imports more and more is named`() throws {
    guard let device = DRMDevice(drivers: ["vgem", "vkms"]) else {
      Issue.record("the device went away")
      return
    }
    let growing = try GrowingRun("--json")
    let vmo = try Leak.allocate("imported only")
    let inode = vmo.identity.inode
    let handle = try device.importBuffer(vmo)
    _ = consume vmo
    let grown = try #require(try growing.grown())
    let row = try #require(grown.first { $0["device"] != nil })
    #expect(row["moreBuffers"] as? Int == 1)
    #expect(row["moreBytes"] as? Int == 1 << 20)
    let new = try #require(row["newBuffers"] as? [[String: Any]])
    #expect(new.map { $0["inode"] as? UInt64 } == [inode])
    #expect(new.map { $0["name"] as? String } == ["imported only"])
    // No process has it.
    #expect(!grown.contains { $0["process"] as? Int32 == getpid() })
    _ = consume handle
  }
}

/// A buffer that no heap of this package keeps.
private enum Leak {
  static let isPossible =
    unsafe access("/sys/kernel/debug/dma_buf/bufinfo", R_OK) == 0 && geteuid() == 0
    && HeapCatalog().heaps().contains { $0.name == "system" && $0.node?.isUsable == true }

  static var device: String? { DRMDevice(drivers: ["vgem", "vkms"])?.path }

  static func allocate(_ name: String) throws -> VMO {
    let vmo = try VMO(adopting: HeapDevice("/dev/dma_heap/system").allocate(size: 1 << 20))
    try vmo.setName(name)
    return vmo
  }

  /// Without a descriptor of its own.
  @safe struct Mapping: ~Copyable {
    private let address: UnsafeMutableRawPointer

    init(_ descriptor: CInt) {
      unsafe address = mmap(nil, 1 << 20, PROT_READ, MAP_SHARED, descriptor, 0)
    }

    deinit { unsafe munmap(address, 1 << 20) }
  }

  static func report() throws -> [String: Any] {
    try #require(try Run.heapctl("holders", "--json").json["holders"] as? [String: Any])
  }

  private static func found(_ inode: UInt64) throws -> [String: Any]? {
    let buffers = try #require(try report()["buffers"] as? [[String: Any]])
    return buffers.first { $0["inode"] as? UInt64 == inode }
  }

  static func buffer(_ inode: UInt64) throws -> [String: Any] { try #require(try found(inode)) }

  static func isGone(_ inode: UInt64) throws -> Bool { try found(inode) == nil }
}
