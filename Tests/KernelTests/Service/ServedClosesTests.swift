import Foundation
import Glibc
import HeapClient
import LinuxHeaps
import Synchronization
import SystemPackage
import TestSupport
import Testing

@testable import HeapTestKit

/// heapd on a kernel with BTF, as root: it is told of dma-bufs' closes, and is not woken to ask.
@Suite(
  .serialized,
  .enabled(
    if: unsafe access("/sys/kernel/btf/vmlinux", R_OK) == 0
      && access("/dev/dma_heap/system", R_OK) == 0 && geteuid() == 0,
    "needs a kernel with BTF, a dma-buf heap, and root"))
struct ServedClosesTests {
  private static let resting: UInt32 = 4

  @Test(arguments: [false, true])
  func `the last close of a holder at rest is heard`(_ isMapped: Bool) throws {
    let daemon = try Daemon(heap: ["system"], arguments: ["--log-level", "info"])
    try daemon.expectLog("the kernel tells of dma-bufs' closes")
    let heap = try RemoteHeap(socket: daemon.socket)
    let peer = try Peer()
    let isGone = try Self.hold(heap, peer)
    if isMapped {
      try peer.map(byteCount: pageSize)
      try peer.closeDescriptor()
    }
    // It is attached on another thread, and what came before is looked at; then, by the clock, in rounds alone, after 1 s and then
    // ever more seldom: one close in some is told to nobody.
    var before = try ServerStatus(of: heap).reclaimer
    let comesToRest = try (0..<8).contains { _ in
      sleep(Self.resting)
      let after = try ServerStatus(of: heap).reclaimer
      defer { before = after }
      // And that this client has closed the report before.
      return after.wakeups - before.wakeups <= 3 && after.checks - before.checks <= 1
    }
    #expect(comesToRest)
    #expect(!isGone.value)
    #expect(try eventually { try ServerStatus(of: heap).reclaimer.checks > before.checks })
    if isMapped { try peer.unmap(byteCount: pageSize) } else { try peer.closeDescriptor() }
    #expect(eventually { isGone.value })
  }

  /// An epoll's lock, which the last close takes, can be held.
  @Test(.enabled(if: HeldEpoll.isPossible, "needs userfaultfd(2)"))
  func `a last close that waits keeps heapd neither from serving nor from ending`() throws {
    let daemon = try Daemon(heap: ["system"])
    let client = try WireClient.heap(daemon)
    let observer = try WireClient.observer(daemon)
    var vmo: SharedFD? = try client.allocate(1)
    let held = try HeldEpoll(#require(vmo))
    vmo = nil
    for index in 2..<22 as Range<UInt64> {
      #expect(try client.refusal(index) == nil)
      usleep(10_000)
    }
    #expect(try eventually { try observer.status().buffers.count == 1 })
    var another: SharedFD? = try client.allocate(22)
    let released = try HeldEpoll(#require(another))
    another = nil
    usleep(100_000)
    released.release()
    #expect(try eventually { try observer.status().buffers.count == 1 })
    daemon.process.terminate()
    #expect(eventually { !daemon.process.isRunning })
    held.release()
  }

  @Test(.enabled(if: HeldEpoll.isPossible, "needs userfaultfd(2)"))
  func `a last close that waits keeps the pool neither from working nor heapd from ending`() throws
  {
    let daemon = try Daemon(
      heap: ["system"],
      configuration: "pool-bytes = 8M\npool-learns = off\npool-idle-seconds = 4\n")
    let heap = try RemoteHeap(socket: daemon.socket)
    func pool() throws -> ServerStatus.Pool { try #require(try ServerStatus(of: heap).pool) }
    let client = try WireClient.heap(daemon)
    // What has no room there stays on its user's account.
    var large: SharedFD? = try client.allocate(30, size: 9 << 20)
    let heldLarge = try HeldEpoll(#require(large))
    large = nil
    usleep(500_000)
    #expect(try ServerStatus(of: heap).buffers.map(\.index) == [30])
    heldLarge.release()
    #expect(try eventually { try ServerStatus(of: heap).buffers.isEmpty })
    var vmo: SharedFD? = try client.allocate(1)
    let held = try HeldEpoll(#require(vmo))
    vmo = nil
    #expect(try eventually { try pool().ready == 1 })
    // Nobody asks for it, and it goes.
    #expect(try eventually { try pool().bytes == 0 })
    // It is known to wait: what its user has from now on is not pooled, and stays on its account to its end.
    sleep(3)
    let hits = try pool().hits
    for index in 2..<12 as Range<UInt64> {
      #expect(try client.refusal(index) == nil)
      usleep(10_000)
    }
    #expect(try eventually { try ServerStatus(of: heap).buffers.isEmpty })
    #expect(try pool().hits == hits)
    #expect(try pool().bytes == 0)
    held.release()
    #expect(
      try eventually {
        _ = try client.refusal(12)
        return try pool().ready == 1
      })
    let heldAgain: HeldEpoll
    do {
      let last = try client.allocate(13)
      heldAgain = try HeldEpoll(last)
    }
    daemon.process.terminate()
    #expect(eventually { !daemon.process.isRunning })
    heldAgain.release()
  }

  @Test func `without events the count is read by the clock`() throws {
    let daemon = try Daemon(
      heap: ["system"], configuration: "events = off", arguments: ["--log-level", "info"])
    #expect(!daemon.log.contains("the kernel tells"))
    let heap = try RemoteHeap(socket: daemon.socket)
    let peer = try Peer()
    let isGone = try Self.hold(heap, peer)
    sleep(Self.resting)
    let before = try ServerStatus(of: heap).reclaimer
    sleep(Self.resting)
    // How often depends on what a look costs, which is much under emulation.
    #expect(try ServerStatus(of: heap).reclaimer.checks > before.checks)
    try peer.closeDescriptor()
    #expect(eventually { isGone.value })
  }

  @Test func `it keeps neither of the rights that loading takes`() throws {
    let daemon = try Daemon(heap: ["system"])
    let status = try String(
      contentsOfFile: "/proc/\(daemon.process.processIdentifier)/status", encoding: .utf8)
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd"] {
      let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("\(set):") })
      let bits = try #require(
        UInt64(line.dropFirst(set.count + 1).filter { $0 != "\t" }, radix: 16))
      // CAP_PERFMON and CAP_BPF (linux/capability.h).
      #expect(bits & (1 << 38 | 1 << 39) == 0, "\(line)")
    }
  }

  /// A buffer that another process alone holds, and what its end will set.
  private static func hold(_ heap: RemoteHeap, _ peer: borrowing Peer) throws -> Flag {
    let isGone = Flag()
    let vmo = try heap.allocateVmo(
      size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 0,
      cleanup: [{ isGone.set() }])
    try peer.hold(vmo)
    return isGone
  }
}

private final class Flag: Sendable {
  private let isSet = Atomic(false)
  func set() { isSet.store(true, ordering: .releasing) }
  var value: Bool { isSet.load(ordering: .acquiring) }
}
