internal import CLibrary
internal import LinuxHeaps
internal import LinuxHeapsDRM

extension HeapCheck {
  static let memory: [HeapCheck] = [
    HeapCheck(
      "zeroed", "32 buffers that were written to and freed come back as zeroes", on: mappable
    ) { bench in
      var random = bench.random
      for turn in 0..<2 {
        var buffers: [ReturnedVMO] = []
        for index in 0..<UInt64(32) {
          let vmo = try bench.allocate(256 << 10, index: index)
          try expect(try vmo.isZero, "buffer \(index) of turn \(turn) is zero")
          try vmo.fill(.random(in: 1...255, using: &random))
          buffers.append(ReturnedVMO(vmo))
        }
        for (index, vmo) in buffers.enumerated() {
          try await bench.delete(vmo.take()!, index: UInt64(index))
        }
      }
    },

    HeapCheck("mapping-offset", "a slice's mapping shows the buffer at its offset", on: mappable) {
      bench in
      let vmo = try bench.allocate()
      let slice = try vmo.slice(offset: 4 * pageSize, byteCount: 8 * pageSize)
      let part = try slice.slice(offset: pageSize, byteCount: pageSize)
      try expectEqual(part.offset, 5 * pageSize, "the offset of a slice's slice")
      try part.fill(0x5A)
      let start = 5 * Int(pageSize)
      try expectEqual(try vmo.byte(at: start - 1), 0, "the byte before the slice")
      try expectEqual(try vmo.byte(at: start), 0x5A, "the slice's first byte")
      try expectEqual(try vmo.byte(at: start + Int(pageSize)), 0, "the byte after the slice")
    },

    HeapCheck(
      "image-planes", "planes of an image whose rows are whole pages are slices", on: mappable
    ) { bench in
      var constraints = ImageFormatConstraints()
      constraints.bytesPerRowDivisor = UInt32(pageSize)
      let layout = try ImageLayout(
        .nv12, size: SizeU(width: 100, height: 10), constraints: constraints)
      // 10 rows of brightness and 5 of colour, each a page of whatever size this kernel's have.
      try expectEqual(
        layout.planes.map { [$0.offset, UInt64($0.bytesPerRow), UInt64($0.rows)] },
        [[0, pageSize, 10], [10 * pageSize, pageSize, 5]], "where the planes lie")
      let vmo = try bench.allocate(layout.byteCount)
      try expectEqual(vmo.byteCount, layout.byteCount, "the size of a buffer for it")
      for (plane, value) in zip(layout.planes, [UInt8(0x59), 0x43]) {
        let byteCount = UInt64(plane.bytesPerRow) * UInt64(plane.rows)
        try vmo.slice(offset: plane.offset, byteCount: byteCount).fill(value)
      }
      let colour = Int(layout.planes[1].offset)
      try expectEqual(try vmo.byte(at: colour - 1), 0x59, "the last byte of brightness")
      try expectEqual(try vmo.byte(at: colour), 0x43, "the first byte of colour")
      try expectEqual(try vmo.byte(at: Int(vmo.byteCount) - 1), 0x43, "the last byte")
    },

    HeapCheck(
      "slice-bounds", "unaligned, empty and overlong slices are refused and cost nothing"
    ) { bench in
      let vmo = try bench.allocate()
      let refused: [(UInt64, UInt64, HeapError.Code)] = [
        (1, pageSize, .invalidArgs), (0, 1, .invalidArgs), (0, 0, .invalidArgs),
        (0, vmo.byteCount + pageSize, .outOfRange), (vmo.byteCount, pageSize, .outOfRange),
        (0 &- pageSize, 2 * pageSize, .outOfRange),
      ]
      let before = try OpenDescriptors()
      for (offset, byteCount, code) in refused {
        try bench.expectRefusal(code, "a slice of \(byteCount) bytes at \(offset)") {
          _ = try vmo.slice(offset: offset, byteCount: byteCount)
        }
      }
      try expectEqual(
        try OpenDescriptors().opened(since: before), [], "what is open that was not before")
    },

    HeapCheck(
      "write-after-close", "a mapping stays writable when every descriptor is closed", on: mappable
    ) { bench in
      let vmo = try bench.allocate()
      let mapping = try vmo.map()
      _ = consume vmo
      try expectEqual(bench.heap.liveBufferCount, 1, "the count of live buffers")
      try mapping.fill(1)
      try expectEqual(try mapping.byte(at: 0), 1, "the byte written")
      _ = consume mapping
      try bench.eventuallyReclaimed("the mapping is gone")
    },

    HeapCheck(
      "sync-under-signals", "CPU access begins and ends while signals interrupt", on: dmaBufs
    ) { bench in
      let vmo = try bench.allocate()
      let mapping = try vmo.map()
      // A handler without SA_RESTART, so that a wait in the kernel ends with EINTR.
      var action = sigaction()
      action.handler = { _ in }
      var former = sigaction()
      unsafe sigaction(SIGALRM, &action, &former)
      var timer = itimerval(
        it_interval: timeval(tv_sec: 0, tv_usec: 500), it_value: timeval(tv_sec: 0, tv_usec: 500))
      unsafe setitimer(number(ITIMER_REAL), &timer, nil)
      defer {
        timer = itimerval()
        unsafe setitimer(number(ITIMER_REAL), &timer, nil)
        // To ignore a signal discards the one that may still be on its way to some thread.
        action.handler = SIG_IGN
        unsafe sigaction(SIGALRM, &action, nil)
        unsafe sigaction(SIGALRM, &former, nil)
      }
      for _ in 0..<2_000 {
        var access = try mapping.writeAccess()
        access.store(2, at: 0)
        try access.end()
      }
    },

    HeapCheck("name", "the kernel shows whose buffer it is, for any descriptor of it") { bench in
      let vmo = try bench.allocate(index: .max)
      let name = try vmo.duplicate().name
      try expectEqual(
        name.flatMap(BufferKey.init(parsing:)),
        BufferKey(bufferCollectionID: CheckBench.collection, bufferIndex: .max), "the name")
      if vmo.kind == .dmaBuf {
        let longest = String(repeating: "n", count: 31)
        try vmo.setName(longest)
        try expectEqual(try vmo.name, longest, "a name of 31 bytes")
        try bench.expectRefusal(.outOfRange, "a name of 32 bytes") {
          try vmo.setName(longest + "n")
        }
        try expectEqual(
          bench.heap.info(of: vmo).bufferIndex, .max, "the index known of a renamed buffer")
      }
    },

    HeapCheck(
      "forged-name", "a holder that writes a count of 1 into the name frees nothing", on: dmaBufs
    ) { bench in
      // The kernel takes line breaks in a name, and prints it as it is where the count is read.
      let vmo = try bench.allocate()
      try vmo.setName("lh\ncount:\t1")
      let descriptor = try vmo.duplicate().releaseDescriptor()
      try expectEqual(try bench.referenceCount(of: vmo), 3, "count beside a forged one")
      _ = consume vmo
      try bench.expectStillLive(while: "a descriptor is open")
      _ = consume descriptor
      Reclaimer.shared.recheckNow()
      try bench.eventuallyReclaimed("the descriptor is closed")
    },

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
  ]
}
