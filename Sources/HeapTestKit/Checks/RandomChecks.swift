internal import LinuxHeaps

extension HeapCheck {
  static let random: [HeapCheck] = [
    HeapCheck(
      "random-slices",
      "slices of slices at random places write where they should, and nowhere else",
      on: mappable
    ) { bench in
      var random = bench.random
      let vmo = try bench.allocate()
      let whole = try vmo.mapReadOnly()
      let pages = Int(CheckBench.size / pageSize)
      // What each page of the buffer must hold.
      var model = [UInt8](repeating: 0, count: pages)
      for turn in 1...64 {
        let outer = Int.random(in: 0..<pages, using: &random)
        let length = Int.random(in: 1...pages - outer, using: &random)
        let inner = Int.random(in: 0..<length, using: &random)
        let count = Int.random(in: 1...length - inner, using: &random)
        let value = UInt8.random(in: 1...255, using: &random)
        let slice = try vmo.slice(
          offset: UInt64(outer) * pageSize, byteCount: UInt64(length) * pageSize
        ).slice(offset: UInt64(inner) * pageSize, byteCount: UInt64(count) * pageSize)
        try slice.fill(value)
        let first = outer + inner
        for page in first..<first + count { model[page] = value }
        for page in 0..<pages {
          for place in [0, Int(pageSize) - 1] {
            try expectEqual(
              try whole.byte(at: page * Int(pageSize) + place), model[page],
              "byte \(place) of page \(page) after write \(turn), to pages \(first)..<\(first + count)"
            )
          }
        }
      }
    },

    HeapCheck("random-indices", "buffers of random 64-bit indices go in a random order") { bench in
      var random = bench.random
      var indices: Set<UInt64> = []
      while indices.count < 64 { indices.insert(.random(in: 0 ... .max, using: &random)) }
      var vmos: [UInt64: ReturnedVMO] = [:]
      for index in indices.sorted() {
        vmos[index] = ReturnedVMO(try bench.allocate(index: index))
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
