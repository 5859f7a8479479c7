import Foundation
import TestSupport
import Testing

@testable import LinuxHeaps

@Suite struct LifetimeTrackingTests {
  private static func key(_ id: UInt64, _ index: UInt64) -> BufferKey {
    BufferKey(bufferCollectionID: id, bufferIndex: index)
  }

  @Test(arguments: [0, 1, .max] as [UInt32])
  func `a tracker that is due already is closed at once`(_ remaining: UInt32) async throws {
    var pipe = try Pipe()
    MemfdHeap().attachLifetimeTracking(
      pipe.takeWritingEnd(), bufferCollectionID: 7, buffersRemaining: remaining)
    let isHungUp = try await eventuallyHolds { pipe.isHungUp }
    #expect(isHungUp)
  }

  @Test func `each tracker is closed when few enough buffers are left`() async throws {
    let heap = MemfdHeap()
    let id = UInt64.random(in: 1 ... .max)
    let (all, one, other) = (PipeBox(try Pipe()), PipeBox(try Pipe()), PipeBox(try Pipe()))
    let first = try heap.allocate(Self.key(id, 0))
    let second = try heap.allocate(Self.key(id, 1))
    let elsewhere = try heap.allocate(Self.key(id &+ 1, 0))
    all.attach(to: heap, id, remaining: 0)
    one.attach(to: heap, id, remaining: 1)
    other.attach(to: heap, id &+ 1, remaining: 0)
    #expect([all.isHungUp, one.isHungUp, other.isHungUp] == [false, false, false])
    try await heap.delete(Self.key(id, 0), first)
    #expect(try await eventuallyHolds { one.isHungUp })
    #expect([all.isHungUp, other.isHungUp] == [false, false])
    close(second)
    #expect(try await eventuallyHolds { all.isHungUp })
    #expect(!other.isHungUp)
    try await heap.delete(Self.key(id &+ 1, 0), elsewhere)
    #expect(try await eventuallyHolds { other.isHungUp })
  }

  @Test func `a tracker is closed after the buffer is gone, not before`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let pipe = PipeBox(try Pipe())
    let diary = Diary()
    let vmo = try heap.allocate(
      key, cleanup: [{ diary.write(pipe.isHungUp ? "closed" : "open") }])
    pipe.attach(to: heap, key.bufferCollectionID, remaining: 0)
    close(vmo)
    #expect(try await eventuallyHolds { pipe.isHungUp })
    #expect(diary.entries == ["open"])
    #expect(openDescriptorCount(of: key) == 0)
    #expect(heap.buffers.count == 0)
  }

  // The reclaimer's thread takes the buffer back, because it has a clean-up action.
  @Test func `a deletion returns after the trackers are closed`() async throws {
    let heap = MemfdHeap()
    let key = BufferKey.fresh()
    let pipe = PipeBox(try Pipe())
    let vmo = try heap.allocate(key, cleanup: [{}])
    let copy = Guarded<SharedFD?>(SharedFD(try vmo.duplicate().releaseDescriptor()))
    pipe.attach(to: heap, key.bufferCollectionID, remaining: 0)
    let isKnown = heap.buffers.whenReclaimed(vmo.identity) { usleep(50_000) }
    #expect(isKnown)
    Thread {
      usleep(20_000)
      copy.withLock { $0 = nil }
    }.start()
    try await heap.delete(key, vmo)
    #expect(pipe.isHungUp)
  }

  @Test func `a buffer whose allocation failed is not waited for`() async throws {
    let admission = Admission(budget: pageSize, on: .of(available: 100))
    let heap = MemfdHeap(admission: admission)
    let id = UInt64.random(in: 1 ... .max)
    let error = refusal { () throws(HeapError) in
      try heap.allocate(Self.key(id, 0), size: 2 * pageSize)
    }
    #expect(error?.code == .noMemory)
    let pipe = PipeBox(try Pipe())
    pipe.attach(to: heap, id, remaining: 0)
    #expect(try await eventuallyHolds { pipe.isHungUp })
  }
}

/// A pipe that closures and arrays can hold.
private final class PipeBox: Sendable {
  private let pipe: Guarded<Pipe>

  init(_ pipe: consuming sending Pipe) { self.pipe = Guarded(pipe) }

  func attach(to heap: MemfdHeap, _ id: UInt64, remaining: UInt32) {
    let descriptor = pipe.withLock { $0.takeWritingEnd() }
    heap.attachLifetimeTracking(
      descriptor, bufferCollectionID: id, buffersRemaining: remaining)
  }

  var isHungUp: Bool { pipe.withLock { $0.isHungUp } }
}
