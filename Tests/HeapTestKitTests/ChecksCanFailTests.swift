import HeapTestKit
import LinuxHeaps
import Testing

@testable import HeapTestKit

/// A heap that breaks the contract: it keeps a handle to each vmo that it gives out.
private struct HoardingHeap: LocalHeap {
  let inner = MemfdHeap()
  let hoard = Guarded<[ReturnedVMO]>([])

  var properties: HeapProperties { inner.properties }
  var buffers: LiveBuffers { inner.buffers }

  func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    try inner.makeMemory(for: request)
  }

  func allocateVmo(
    size: UInt64, settings: SingleBufferSettings, bufferCollectionID: UInt64, bufferIndex: UInt64,
    cleanup: [CleanupAction]
  ) throws(HeapError) -> VMO {
    let vmo = try inner.allocateVmo(
      size: size, settings: settings, bufferCollectionID: bufferCollectionID,
      bufferIndex: bufferIndex, cleanup: cleanup)
    let kept = ReturnedVMO(try vmo.duplicate())
    hoard.withLock { $0.append(kept) }
    return vmo
  }
}

@Suite struct ChecksCanFailTests {
  @Test(arguments: ["child-by-dup", "cleanup-once", "cleanup-before-close"])
  func `a heap that keeps a child is found out`(_ name: String) async throws {
    let check = try #require(HeapCheck.all.first { $0.name == name })
    let heap = HeapUnderTest(
      name: "hoarding", kind: .memfd, settings: SingleBufferSettings(), isRemote: false,
      patience: .milliseconds(200)
    ) { HoardingHeap() }
    let outcome = await check.run(on: heap)
    guard case .failed(let reason) = outcome else {
      Issue.record("\(name) ended as \(outcome)")
      return
    }
    #expect(reason.contains("reclaimed"))
  }

  // 64 MiB of pages of 64 KiB are 1,024.
  @Test(arguments: ["at-once", "random-indices"])
  func `many buffers need no large region`(_ name: String) async throws {
    let check = try #require(HeapCheck.all.first { $0.name == name })
    let heap = HeapUnderTest(name: "small", kind: .memfd) {
      MemfdHeap(admission: Admission(budget: 512 * pageSize))
    }
    let outcome = await check.run(on: heap)
    guard case .passed = outcome else {
      Issue.record("\(name) ended as \(outcome)")
      return
    }
  }
}
