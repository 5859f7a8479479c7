internal import CHeapPeer
internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

// The kernel's own promises, which the library builds upon (linux/dma-heap.h).

extension HeapCheck {
  static let kernelInterface: [HeapCheck] = [
    HeapCheck(
      "ioctl-refusals", "the kernel refuses bad lengths, flags and descriptors", on: [.dmaHeap],
      isLocal: true
    ) { bench in
      let heap = try bench.openDevice()
      let readWrite = UInt32(O_RDWR | O_CLOEXEC)
      let refused: [(String, dma_heap_allocation_data)] = [
        ("length 0", .init(len: 0, fd: 0, fd_flags: readWrite, heap_flags: 0)),
        ("length 2^64 - 1", .init(len: .max, fd: 0, fd_flags: readWrite, heap_flags: 0)),
        ("unknown heap_flags", .init(len: 1, fd: 0, fd_flags: readWrite, heap_flags: 1 << 40)),
        ("unknown fd_flags", .init(len: 1, fd: 0, fd_flags: .max, heap_flags: 0)),
        ("a nonzero fd", .init(len: 1, fd: 1, fd_flags: readWrite, heap_flags: 0)),
      ]
      for (name, request) in refused {
        let answer = Answer(of: heap.rawValue, to: request)
        try expectEqual(answer, .refused(.invalidArgument), "the answer to \(name)")
      }
    },

    HeapCheck(
      "ioctl-struct-size", "the kernel takes an older and a newer struct of the same ioctl",
      on: [.dmaHeap], isLocal: true
    ) { bench in
      let heap = try bench.openDevice()
      let request = dma_heap_allocation_data(
        len: 1, fd: 0, fd_flags: UInt32(O_RDWR | O_CLOEXEC), heap_flags: 0)
      // 16 bytes end before heap_flags, which then count as 0; 64 have fields of the future.
      for size in [16, 64] {
        try expectEqual(
          Answer(of: heap.rawValue, to: request, structSize: size), .served(pageSize),
          "the answer to a struct of \(size) bytes")
      }
    },

    HeapCheck(
      "ioctl-descriptor", "what is no heap serves no allocation", on: [.dmaHeap], isLocal: true
    ) { bench in
      let vmo = try bench.allocate()
      let request = dma_heap_allocation_data(len: 1, fd: 0, fd_flags: 0, heap_flags: 0)
      try vmo.withDescriptor { buffer throws(Broken) in
        try expectEqual(
          Answer(of: buffer, to: request), .refused(.inappropriateIOCTLForDevice),
          "a dma-buf's answer")
      }
      try expectEqual(
        Answer(of: -1, to: request), .refused(.badFileDescriptor),
        "the answer of a descriptor that is not open")
    },

    HeapCheck(
      "exporter", "the buffer comes from the heap that was named, and says so", on: [.dmaHeap],
      isLocal: true
    ) { bench in
      let vmo = try bench.allocate()
      try expectEqual(vmo.heapName, bench.subject.name, "the heap that served")
      try expectEqual(try vmo.exporterName, bench.subject.name, "the kernel's exporter name")
      try expectEqual(
        try bench.referenceCount(of: vmo), 2, "count of a new buffer: parent and child")
    },

    HeapCheck(
      "same-region", "two names of one contiguous region take from the same memory", on: [.dmaHeap],
      isLocal: true
    ) { bench in
      let catalog = HeapCatalog()
      let name = bench.subject.name
      let entries = catalog.heaps()
      let original = entries.first { $0.name == name }?.duplicateOf ?? name
      // A name alone in its region has nothing to agree with.
      guard entries.contains(where: { $0.duplicateOf == original }) else { return }
      func free() -> UInt64? { catalog.heaps().first { $0.name == original }?.free }
      guard let before = free() else {
        throw Skip(reason: "this kernel does not tell how much of a region is free")
      }
      let vmo = try bench.allocate(1 << 20)
      try expectEqual(before - (free() ?? 0), 1 << 20, "what \(original) lost")
      _ = consume vmo
      try bench.eventually("\(original) has it back") { free() == before }
    },
  ]
}

/// What the kernel answers to a request that the library would not make.
private enum Answer: Equatable {
  /// The size of the buffer.
  case served(UInt64)
  case refused(Errno)

  init(of heap: CInt, to request: dma_heap_allocation_data, structSize: Int = 24) {
    var bytes = unsafe withUnsafeBytes(of: request) { unsafe [UInt8]($0) }
    bytes += [UInt8](repeating: 0, count: max(0, structSize - bytes.count))
    let number = CHeapPeer_dma_heap_alloc_request(UInt32(structSize))
    do throws(Errno) {
      _ = try call { unsafe CHeapPeer_ioctl(heap, number, &bytes) }
    } catch {
      self = .refused(error)
      return
    }
    let answer = unsafe bytes.withUnsafeBytes {
      unsafe $0.loadUnaligned(as: dma_heap_allocation_data.self)
    }
    let buffer = OwnedFD(adopting: CInt(bitPattern: answer.fd))
    self = .served(UInt64(lseek(buffer.rawValue, 0, SEEK_END)))
  }
}

extension CheckBench {
  fileprivate func openDevice() throws(Errno) -> OwnedFD {
    try .open("/dev/dma_heap/\(subject.name)", O_RDONLY)
  }
}
