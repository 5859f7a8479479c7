internal import CLibrary
internal import LinuxHeaps

extension HeapCheck {
  static let udmabuf: [HeapCheck] = [
    HeapCheck(
      "isolated-slice", "a slice can be a dma-buf of its own, which shows its pages and no others",
      on: [.udmabuf], isLocal: true
    ) { bench in
      let heap = bench.heap as! UDMABufHeap
      let vmo = try bench.allocate(index: 5)
      let slice = try heap.isolatedSlice(of: vmo, offset: 2 * pageSize, byteCount: 4 * pageSize)
      try expect(slice.identity != vmo.identity, "the slice is a buffer of its own to the kernel")
      let inner = try heap.isolatedSlice(of: slice, offset: pageSize, byteCount: pageSize)
      try expectEqual(inner.byteCount, pageSize, "the bytes that the slice has")
      try vmo.slice(offset: 3 * pageSize, byteCount: pageSize).fill(9)
      try expectEqual(try inner.byte(at: 0), 9, "its first byte")
      try expectEqual(try heap.info(of: inner).bufferIndex, 5, "the slice's index")
      _ = consume vmo
      _ = consume slice
      try bench.expectStillLive(while: "a slice of a slice is open")
      _ = consume inner
      try bench.eventuallyReclaimed("the last slice is closed")
    },

    HeapCheck(
      "isolated-slice-bounds", "misaligned, partial and foreign slices are refused", on: [.udmabuf],
      isLocal: true
    ) { bench in
      let heap = bench.heap as! UDMABufHeap
      let vmo = try bench.allocate()
      let refused: [(UInt64, UInt64, HeapError.Code)] = [
        (1, pageSize, .invalidArgs), (0, 100, .invalidArgs), (0, 0, .invalidArgs),
        (vmo.byteCount, pageSize, .outOfRange),
      ]
      for (offset, byteCount, code) in refused {
        try bench.expectRefusal(code, "a slice of \(byteCount) bytes at \(offset)") {
          _ = try heap.isolatedSlice(of: vmo, offset: offset, byteCount: byteCount)
        }
      }
      let stranger = try MemfdHeap().allocateVmo(
        size: pageSize, settings: SingleBufferSettings(), bufferCollectionID: 1, bufferIndex: 1)
      try bench.expectRefusal(.notFound, "a slice of another heap's vmo") {
        _ = try heap.isolatedSlice(of: stranger, offset: 0, byteCount: pageSize)
      }
    },
  ]
}

extension HeapCheck {
  static let opaque: [HeapCheck] = [
    HeapCheck(
      "no-access", "a vmo without pages has a size, and cannot be read, written or mapped",
      on: [.opaque]
    ) { bench in
      let vmo = try bench.allocate()
      try bench.expectRefusal(.notSupported, "a mapping") { _ = try vmo.map() }
      try bench.expectRefusal(.notSupported, "a mapping for reading") { _ = try vmo.mapReadOnly() }
      let adopted = try VMO(adopting: try vmo.duplicate().releaseDescriptor())
      try expectEqual(adopted.kind, .opaque, "the kind of an adopted descriptor")
      try vmo.withDescriptor { descriptor throws(Broken) in
        var byte: UInt8 = 1
        try expect(unsafe read(descriptor, &byte, 1) == -1, "read(2) fails")
        try expect(unsafe write(descriptor, &byte, 1) == -1, "write(2) fails")
        for protection in [PROT_READ, PROT_WRITE, PROT_NONE] {
          let address = unsafe mmap(
            nil, Int(pageSize), protection, MAP_SHARED, descriptor, 0)
          try expect(unsafe address == MAP_FAILED, "mmap(2) with protection \(protection) fails")
        }
        var status = stat()
        unsafe fstat(descriptor, &status)
        try expectEqual(UInt64(status.st_size), CheckBench.size, "its size")
        try expectEqual(status.st_blocks, 0, "its blocks")
      }
    }
  ]
}
