import Foundation
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// The page for authors of clients: its client works, and its bytes are those of the messages.
@Suite struct WritingAClientTests {
  private let page: String

  init() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    page = try String(
      contentsOf: root.appendingPathComponent(
        "Sources/HeapProtocol/HeapProtocol.docc/WritingAClient.md"), encoding: .utf8)
  }

  private static var python: ProgramRun? {
    try? ProgramRun(words: ["/usr/bin/python3", "-c", "import socket; socket.recv_fds"])
  }

  @Test(.enabled(if: python?.status == 0, "needs Python 3.9"))
  func `the client works as it stands`() throws {
    let blocks = page.components(separatedBy: "```python\n").dropFirst()
    let client = try #require(blocks.first?.components(separatedBy: "```").first)
    #expect(blocks.count == 1)
    #expect(client.split(separator: "\n", omittingEmptySubsequences: false).count <= 60)
    let scene = try Scene()
    let file = scene.daemon.folder + "/client.py"
    try client.write(toFile: file, atomically: true, encoding: .utf8)
    for _ in 0..<2 {
      let run = try ProgramRun(words: ["/usr/bin/python3", file, scene.daemon.socket])
      #expect(run.output == "hello in 8192 bytes\nreclaimed\n")
      #expect(run.error == "")
      #expect(run.status == 0)
    }
    try scene.expectUnharmed()
  }

  struct Vector: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let bytes: [UInt8]

    init(_ name: String, _ encode: (inout [UInt8]) -> Void) {
      testDescription = name
      var bytes: [UInt8] = []
      encode(&bytes)
      self.bytes = bytes
    }
  }

  static let vectors = [
    Vector("OnRegister") {
      OnRegisterEvent(
        properties: HeapProperties(
          coherencyDomainSupport: CoherencyDomainSupport(
            cpuSupported: true, ramSupported: true, inaccessibleSupported: false),
          needClear: false, needFlush: true)
      ).encode(into: &$0)
    },
    Vector("AllocateVmo") {
      AllocateVmoRequest(
        size: 8192, settings: SingleBufferSettings(), bufferCollectionID: 0x1122, bufferIndex: 3
      ).encode(transactionID: 1, into: &$0)
    },
    Vector("AllocateVmo's vmo") {
      AllocateVmoResult.vmo(.first).encode(transactionID: 1, into: &$0)
    },
    Vector("AllocateVmo's status") {
      AllocateVmoResult.status(HeapError.Code.noMemory.rawValue).encode(transactionID: 1, into: &$0)
    },
    Vector("DeleteVmo") {
      DeleteVmoRequest(bufferCollectionID: 0x1122, bufferIndex: 3)
        .encode(transactionID: 2, into: &$0)
    },
    Vector("DeleteVmo's answer") { DeleteVmoReply().encode(transactionID: 2, into: &$0) },
    Vector("WatchBuffers") { WatchBuffersRequest().encode(transactionID: 3, into: &$0) },
    Vector("WatchBuffers' answer") {
      WatchBuffersReply(.success(EmptyTable())).encode(transactionID: 3, into: &$0)
    },
    Vector("OnReclaimed") {
      OnReclaimedEvent(key: BufferKey(bufferCollectionID: 0x1122, bufferIndex: 3))
        .encode(into: &$0)
    },
    Vector("AllocateVmoFrom") {
      AllocateVmoFromRequest(
        size: 8192, settings: SingleBufferSettings(), bufferCollectionID: 0x1122, bufferIndex: 3
      ).encode(transactionID: 4, into: &$0)
    },
    Vector("AllocateVmoFrom's answer") {
      AllocateVmoFromReply(.success(AllocatedVmo())).encode(transactionID: 4, into: &$0)
    },
    Vector("an epitaph") {
      Epitaph(status: HeapError.Code.peerClosed.rawValue).encode(into: &$0)
    },
    Vector("GetVmoInfo") { GetVmoInfoRequest().encode(transactionID: 6, into: &$0) },
    Vector("GetVmoInfo's answer") {
      GetVmoInfoReply(.success(BufferKey(bufferCollectionID: 0x1122, bufferIndex: 3)))
        .encode(transactionID: 6, into: &$0)
    },
    Vector("AttachLifetimeTracking") {
      AttachLifetimeTrackingRequest(buffersRemaining: 2, bufferCollectionID: 0x1122)
        .encode(transactionID: 7, into: &$0)
    },
    Vector("AwaitReclaimed") { AwaitReclaimedRequest().encode(transactionID: 8, into: &$0) },
    Vector("GetStatus") { GetStatusRequest().encode(transactionID: 9, into: &$0) },
  ]

  @Test(arguments: vectors)
  func `the page has the bytes of`(_ vector: Vector) {
    let blocks = page.components(separatedBy: "```text\n").dropFirst()
      .compactMap { $0.components(separatedBy: "```").first }
    let bytes = blocks.joined().filter { !$0.isWhitespace }
    #expect(bytes.contains(vector.bytes.hex))
  }

  @Test func `the page has the numbers of statuses and methods`() {
    let statuses: [HeapError.Code] = [
      .internal, .notSupported, .noResources, .noMemory, .invalidArgs, .outOfRange, .notFound,
      .alreadyExists, .accessDenied, .wrongType, .badState,
    ]
    for status in statuses { #expect(page.contains("| \(status) | −\(-status.rawValue) |")) }
    for ordinal in [
      MessageOrdinal.watchBuffers, .onReclaimed, .allocateVmoFrom, .getVmoInfo,
      .attachLifetimeTracking,
      .awaitReclaimed, .getStatus,
    ] {
      var bytes: [UInt8] = []
      for shift in stride(from: 0, to: 64, by: 8) {
        bytes.append(UInt8(truncatingIfNeeded: ordinal.rawValue >> UInt64(shift)))
      }
      #expect(page.contains("| \(ordinal) | `\(bytes.hex)` |"))
    }
  }
}
