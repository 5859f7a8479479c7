internal import LinuxHeaps

extension HeapCheck {
  static let deletion: [HeapCheck] = [
    HeapCheck("fence", "a deletion returns when all is cleaned up, and not before") { bench in
      for index in 0..<UInt64(64) {
        let done = Tally()
        let vmo = try bench.allocate(index: index, cleanup: [{ done.add() }])
        try await bench.delete(vmo, index: index)
        try expectEqual(done.count, 1, "clean-ups when the deletion returns")
        try expectEqual(bench.heap.liveBufferCount, 0, "the count of live buffers then")
      }
    },

    HeapCheck("fence-waits", "a deletion waits for a child elsewhere, and other calls go on") {
      bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      try peer.hold(vmo)
      let passed = ReturnedVMO(vmo)
      let returned = Tally()
      async let deletion: Void = {
        try await bench.delete(passed.take()!)
        returned.add()
      }()
      do {
        try await bench.eventually(tasks: "the handle is taken") { passed.isTaken }
        try await bench.delete(try bench.allocate(index: 1), index: 1)
        try expectEqual(returned.count, 0, "deletions returned while the child lives")
      } catch {
        // The end of this scope waits for the deletion.
        try peer.closeDescriptor()
        throw error
      }
      try peer.closeDescriptor()
      try await deletion
      try expectEqual(bench.heap.liveBufferCount, 0, "the count of live buffers")
    },

    HeapCheck("wrong-handle", "a deletion with another buffer's vmo touches neither") { bench in
      let first = try bench.allocate(index: 1)
      let second = try bench.allocate(index: 2)
      let identity = second.identity
      func refusal(_ vmo: consuming VMO, index: UInt64) async throws -> HeapError {
        do throws(HeapError) {
          try await bench.delete(vmo, index: index)
        } catch {
          return error
        }
        throw Broken(description: "the deletion was not refused")
      }
      func taken(_ vmo: ReturnedVMO?) throws(Broken) -> VMO {
        guard let vmo = vmo?.take() else {
          throw Broken(description: "the vmo does not come back")
        }
        return vmo
      }
      let wrong = try await refusal(second, index: 1)
      try expectEqual(wrong.code, .badHandle, "the refusal")
      let returned = try taken(wrong.returnedVMO)
      try expectEqual(returned.identity, identity, "the vmo that comes back")
      try expectEqual(bench.heap.liveBufferCount, 2, "the count of live buffers")
      let unknown = try await refusal(returned, index: 3)
      try expectEqual(unknown.code, .notFound, "the refusal of an unknown index")
      try await bench.delete(try taken(unknown.returnedVMO), index: 2)
      try await bench.delete(first, index: 1)
    },

    HeapCheck("info", "any handle tells its buffer, until the deletion begins") { bench in
      let pair = try MessageSocket.Pair()
      let vmo = try bench.allocate(index: 1 << 40)
      let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
      try pair.near.send([0], passing: slice)
      let adopted = try VMO(adopting: try pair.far.receiveDescriptor())
      try expectEqual(try bench.heap.info(of: vmo).bufferIndex, 1 << 40, "the vmo's index")
      try expectEqual(try bench.heap.info(of: slice).bufferIndex, 1 << 40, "the slice's index")
      try expectEqual(
        try bench.heap.info(of: adopted).bufferIndex, 1 << 40, "the passed descriptor's index")
      let other = MemfdHeap()
      try bench.expectRefusal(.notFound, "the question to another heap") {
        _ = try other.info(of: vmo)
      }
      _ = consume slice
      let taken = ReturnedVMO(vmo)
      async let deletion: Void = bench.delete(taken.take()!, index: 1 << 40)
      try await bench.eventually(tasks: "the handle is taken") { taken.isTaken }
      try await bench.eventually(tasks: "the buffer is no longer told") {
        do throws(HeapError) {
          _ = try bench.heap.info(of: adopted)
          return false
        } catch {
          return error.code == .notFound
        }
      }
      _ = consume adopted
      try await deletion
    },

    HeapCheck("random-indices", "buffers of random 64-bit indices go in a random order") { bench in
      var random = bench.random
      var indices: Set<UInt64> = []
      while indices.count < 64 { indices.insert(.random(in: 0 ... .max, using: &random)) }
      var vmos: [UInt64: ReturnedVMO] = [:]
      for index in indices.sorted() {
        vmos[index] = ReturnedVMO(try bench.allocate(pageSize, index: index))
      }
      for (gone, index) in indices.sorted().shuffled(using: &random).enumerated() {
        guard let vmo = vmos[index]?.take() else { throw Broken(description: "the vmo is gone") }
        try expectEqual(try bench.heap.info(of: vmo).bufferIndex, index, "the index that is told")
        try await bench.delete(vmo, index: index)
        try expectEqual(bench.heap.liveBufferCount, 63 - gone, "the count of live buffers")
      }
    },
  ]
}
