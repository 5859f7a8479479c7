import Foundation
import HeapSurvey
import LinuxHeaps
import LinuxHeapsDRM
import TestSupport
import Testing

@Suite struct HoldersTests {
  private let listIsReadable = unsafe access("/sys/kernel/debug/dma_buf/bufinfo", R_OK) == 0
  /// Which of the kernel's lists is the one to look into.
  private let list = try? BufferSurvey().list.get().rawValue

  @Test func `what could not be read is told of both lists, and of none where one could`() throws {
    let report = try #require(
      try Run.heapctl("holders", "--json").json["holders"] as? [String: Any])
    let unseen = try #require(report["unseen"] as? [String: Any])
    #expect((unseen["debugfs"] == nil) == (list != nil))
    #expect((unseen["bpf"] == nil) == (list != nil))
    #expect(list == (listIsReadable ? "debugfs" : list))
  }

  @Test(arguments: TestHeaps.names)
  func `JSON tells of a buffer and of its holder`(_ heap: String) throws {
    let holder = try HoldingProcess(heap)
    let run = try Run.heapctl("holders", "--pid", "\(holder.id)", "--json")
    #expect(run.status == 0)
    #expect(run.error == "")
    let isDMABuf = holder.buffer["kind"] as? String == "dma-buf"
    var report = try #require(try run.json["holders"] as? [String: Any])
    // Of the machine, not of the buffer.
    report["unseen"] = nil
    report["recipients"] = nil
    var buffer: [String: Any] = [
      "kind": isDMABuf ? "dma-buf" : "memfd", "heap": heap,
      "inode": try #require(holder.buffer["inode"] as? UInt64), "sizeBytes": 1 << 20,
      "name": try #require(holder.buffer["name"] as? String), "collection": Int(holder.id),
      "index": 0, "heldByProcesses": 2, "devices": [String](),
      "foundIn": isDMABuf ? ["proc"] + (list.map { [$0] } ?? []) : ["proc"],
      "holders": [
        ["process": Int(holder.id), "program": "heapctl", "descriptors": 2, "mappings": 0]
          as [String: Any]
      ],
    ]
    if isDMABuf {
      buffer["referenceCount"] = 2
      buffer["heldBeyond"] = 0
    }
    let expected: [String: Any] = [
      "buffers": [buffer],
      "heaps": [
        ["heap": heap, "buffers": 1, "sizeBytes": 1 << 20] as [String: Any]
      ],
      "processes": [
        ["process": Int(holder.id), "program": "heapctl", "buffers": 1, "sizeBytes": 1 << 20]
          as [String: Any]
      ],
      "devices": [Any](),
    ]
    #expect(NSDictionary(dictionary: report) == NSDictionary(dictionary: expected))
    holder.end()
  }

  @Test func `text says the same`() throws {
    let holder = try HoldingProcess("memfd")
    let run = try Run.heapctl("holders", "--pid", "\(holder.id)")
    let inode = "\(try #require(holder.buffer["inode"] as? UInt64))"
    let name = try #require(holder.buffer["name"] as? String)
    let id = "\(holder.id)"
    func pad(_ text: String, _ count: Int) -> String {
      text.padding(toLength: max(count, text.count), withPad: " ", startingAt: 0)
    }
    let width = max(5, inode.count)
    let idWidth = max(7, id.count)
    let text = """
      HEAP   SIZE   \(pad("INODE", width))  COUNT  COLLECTION  INDEX  NAME
      memfd  1 MiB  \(pad(inode, width))  -      \(pad(id, 10))  0      \(name)
        process \(id) (heapctl): 2 descriptors, 0 mappings

      HEAP   BUFFERS  BYTES
      memfd  1        1 MiB

      \(pad("PROCESS", idWidth))  PROGRAM  BUFFERS  BYTES
      \(pad(id, idWidth))  heapctl  1        1 MiB

      """
    #expect(run.output.hasPrefix(text))
    // What follows is what this machine does not show.
    let rest = run.output.dropFirst(text.count).split(separator: "\n")
    #expect(rest.allSatisfy { $0.hasPrefix("not seen: ") })
    #expect(run.status == 0)
    holder.end()
  }

  @Test(arguments: TestHeaps.mappable)
  func `a mapping alone holds a buffer`(_ name: String) throws {
    let heap = TestHeaps.make(name)
    let vmo = try heap.allocateVmo(
      size: 1 << 20, settings: Self.settings(name), bufferCollectionID: 77, bufferIndex: 5)
    let mapping = try vmo.map()
    let buffer = try Self.buffer(vmo.identity.inode)
    let holders = try #require(buffer["holders"] as? [[String: Any]])
    #expect(holders.count == 1)
    #expect(holders[0]["mappings"] as? Int == 1)
    // The heap's parent, this vmo, and, for a dma-buf, the mapping's own for syncing.
    #expect(holders[0]["descriptors"] as? Int == (vmo.kind == .dmaBuf ? 3 : 2))
    #expect(buffer["collection"] as? Int == 77)
    #expect(buffer["index"] as? Int == 5)
    if vmo.kind == .dmaBuf {
      #expect(buffer["referenceCount"] as? Int == 4)
      #expect(buffer["heldBeyond"] as? Int == 0)
    }
    _ = consume mapping
    _ = consume vmo
    withExtendedLifetime(heap) {}
  }

  @Test(
    .enabled(if: !TestHeaps.dmaBufs.isEmpty, "needs a dma-buf heap"), arguments: TestHeaps.dmaBufs)
  func `a message in flight is beyond processes`(_ name: String) throws {
    let heap = TestHeaps.make(name)
    let pair = try MessageSocket.Pair()
    let vmo = try heap.allocateVmo(
      size: 1 << 20, settings: Self.settings(name), bufferCollectionID: 78, bufferIndex: 0)
    try pair.near.send([0], passing: vmo)
    let buffer = try Self.buffer(vmo.identity.inode)
    #expect(buffer["referenceCount"] as? Int == 3)
    #expect(buffer["heldBeyond"] as? Int == 1)
    _ = consume vmo
    _ = consume pair
    withExtendedLifetime(heap) {}
  }

  @Test(
    .enabled(
      if: !TestHeaps.dmaBufs.isEmpty && DRMDevice(drivers: ["vgem", "vkms"]) != nil,
      "needs a dma-buf heap and vgem or vkms"), arguments: TestHeaps.dmaBufs)
  func `an import is beyond processes, and its device is named`(_ name: String) throws {
    guard let device = DRMDevice(drivers: ["vgem", "vkms"]) else {
      Issue.record("the device went away")
      return
    }
    let heap = TestHeaps.make(name)
    let vmo = try heap.allocateVmo(
      size: 1 << 20, settings: Self.settings(name), bufferCollectionID: 79, bufferIndex: 0)
    let handle = try device.importBuffer(vmo)
    let buffer = try Self.buffer(vmo.identity.inode)
    #expect(buffer["heldBeyond"] as? Int == 3)
    if listIsReadable {
      #expect((buffer["devices"] as? [String])?.count == 1)
      let text = try Run.heapctl("holders", "--pid", "\(getpid())").output
      #expect(text.contains("beyond processes: 3 references, imported by "))
    }
    _ = consume handle
    _ = consume vmo
    withExtendedLifetime(heap) {}
  }

  @Test func `another user sees nothing of it, and is told so`() throws {
    let holder = try HoldingProcess("memfd")
    let run = try Run.heapctl(
      "holders", "--json",
      through: ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    #expect(run.status == 0)
    let report = try #require(try run.json["holders"] as? [String: Any])
    let buffers = try #require(report["buffers"] as? [[String: Any]])
    #expect(!buffers.contains { $0["name"] as? String == holder.buffer["name"] as? String })
    let unseen = try #require(report["unseen"] as? [String: Any])
    #expect(try #require(unseen["processes"] as? Int) > 0)
    #expect(
      (unseen["debugfs"] as? String)?.hasPrefix("/sys/kernel/debug/dma_buf/bufinfo: ") == true)
    let why = try #require(unseen["bpf"] as? String)
    // Without BTF, and before Linux 6.16, no right would help.
    #expect(
      why == "bpf(2): Operation not permitted"
        || why.hasPrefix("/sys/kernel/btf/vmlinux: ") && list != "bpf", "\(why)")

    let refused = try Run.heapctl(
      "holders", "--pid", "\(holder.id)",
      through: ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    #expect(refused.status == 77)
    #expect(
      refused.error == """
        heapctl: inspect process \(holder.id) (/proc/\(holder.id)): it is another user's; \
        ACCESS_DENIED. To fix it: run as that user, or as root

        """)
    holder.end()
  }

  @Test func `a process that is not there is named`() throws {
    let run = try Run.heapctl("holders", "--pid", "4194305")
    #expect(run.status == 69)
    #expect(
      run.error
        == "heapctl: inspect process 4194305 (/proc/4194305): no such process; NOT_FOUND. "
        + "To fix it: heapctl holders lists all that hold a buffer\n")
  }

  private static func settings(_ heap: String) -> SingleBufferSettings {
    let role = HeapCatalog().heaps().first { $0.name == heap }?.role
    return role == .contiguous ? .contiguous : SingleBufferSettings()
  }

  /// What is told of a buffer that this process holds.
  private static func buffer(_ inode: UInt64) throws -> [String: Any] {
    let run = try Run.heapctl("holders", "--pid", "\(getpid())", "--json")
    let report = try #require(try run.json["holders"] as? [String: Any])
    let buffers = try #require(report["buffers"] as? [[String: Any]])
    return try #require(buffers.first { $0["inode"] as? UInt64 == inode })
  }
}
