internal import LinuxHeaps

extension HeapCheck {
  static let allocation: [HeapCheck] = [
    HeapCheck("size", "sizes are rounded up to pages; 0 and 2^64 - 1 are refused") { bench in
      let vmo = try bench.allocate(1)
      try expectEqual(vmo.byteCount, pageSize, "the size of a buffer of 1 byte")
      try bench.expectRefusal(.invalidArgs, "size 0") { _ = try bench.allocate(0, index: 1) }
      try bench.expectRefusal(.outOfRange, "size 2^64 - 1") {
        _ = try bench.allocate(.max, index: 1)
      }
      try expectEqual(bench.heap.liveBufferCount, 1, "the count of live buffers")
    },

    HeapCheck("beyond-memory", "a request of 1 TiB leaves the machine alive") { bench in
      if bench.subject.kind == .opaque {
        // It has no pages, so nothing stands against it.
        try expectEqual(try bench.allocate(1 << 40).byteCount, 1 << 40, "the size")
        return
      }
      try bench.expectRefusal(.noMemory, "1 TiB") { _ = try bench.allocate(1 << 40) }
    },

    HeapCheck("settings-ignored", "settings that the heap does not depend on change nothing") {
      bench in
      var constraints = ImageFormatConstraints()
      constraints.pixelFormat = PixelFormat(rawValue: .max)
      constraints.minSize = SizeU(width: .max, height: 0)
      constraints.maxSize = SizeU(width: 0, height: .max)
      constraints.bytesPerRowDivisor = 0
      var settings = bench.subject.settings
      settings.imageFormatConstraints = constraints
      var memory = settings.bufferSettings ?? BufferMemorySettings()
      memory.sizeBytes = .max
      memory.rawVmoSize = 1
      memory.coherencyDomain = CoherencyDomain(rawValue: .max)
      memory.heap = HeapIdentifier(heapType: "no.such.heap", id: .max)
      settings.bufferSettings = memory
      let vmo = try bench.heap.allocateVmo(
        size: CheckBench.size, settings: settings, bufferCollectionID: CheckBench.collection,
        bufferIndex: 0)
      try expectEqual(vmo.byteCount, CheckBench.size, "the size")
    },

    HeapCheck("properties", "the heap says in which coherency domains its memory works") { bench in
      let domains = bench.heap.properties.coherencyDomainSupport
      try expectEqual(
        domains.cpuSupported, bench.subject.kind != .opaque, "support of the CPU domain")
      try expect(
        domains.cpuSupported || domains.ramSupported || domains.inaccessibleSupported,
        "one domain is supported")
    },

    HeapCheck("key-taken", "a (collection, index) that is live is refused, and free when gone") {
      bench in
      let first = try bench.allocate()
      try bench.expectRefusal(.alreadyExists, "the same index") { _ = try bench.allocate() }
      // All 64 bits of an index count.
      let second = try bench.allocate(index: 1 << 32)
      try await bench.delete(first)
      let third = try bench.allocate()
      try expect(third.identity != second.identity, "each buffer has an identity of its own")
    },

    HeapCheck("in-a-row", "1,024 buffers of each size come and go, one after the other") { bench in
      for size in [pageSize, 64 * pageSize] {
        for index in 0..<UInt64(1024) {
          try await bench.delete(try bench.allocate(size, index: index), index: index)
        }
      }
      try expectEqual(bench.heap.liveBufferCount, 0, "the count of live buffers")
    },

    HeapCheck("at-once", "100 threads allocate at the same time, each its own buffer") { bench in
      let identities = Guarded<Set<VMOIdentity>>([])
      let gate = Guarded<[ReturnedVMO]>([])
      let ended = Tally()
      for index in 0..<UInt64(100) {
        try KernelThread.start("heap-check") {
          defer { ended.add() }
          guard let vmo = try? bench.allocate(pageSize, index: index) else { return }
          let identity = vmo.identity
          identities.withLock { _ = $0.insert(identity) }
          let box = ReturnedVMO(vmo)
          gate.withLock { $0.append(box) }
        }
      }
      try bench.eventually("every thread ends") { ended.count == 100 }
      try expectEqual(identities.withLock { $0.count }, 100, "the count of different buffers")
      gate.withLock { $0 = [] }
      try bench.eventuallyReclaimed("all 100 are closed")
    },

    HeapCheck("descriptors", "allocate, slice, pass and close leave no descriptor open") { bench in
      let pair = try MessageSocket.Pair()
      func round() async throws {
        let vmo = try bench.allocate()
        let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
        try pair.near.send([0], passing: slice)
        _ = try VMO(adopting: try pair.far.receiveDescriptor())
        _ = consume slice
        try await bench.delete(vmo)
      }
      try await round()
      let before = try OpenDescriptors()
      for _ in 0..<200 { try await round() }
      try expectEqual(
        try OpenDescriptors().opened(since: before), [], "what is open that was not before")
    },
  ]
}
