internal import LinuxHeaps

// Whatever holds a child keeps the buffer, and nothing else does. Each check lets one kind of holder be
// the only one, and then lets it go.

extension HeapCheck {
  static let children: [HeapCheck] = [
    HeapCheck("child-by-dup", "a dup is a child, counted by the kernel") { bench in
      let vmo = try bench.allocate()
      let count = try bench.referenceCount(of: vmo)
      let dup = try vmo.duplicate()
      try bench.expectCount(count, plus: 1, of: vmo, "after a dup")
      _ = consume vmo
      try bench.expectStillLive(while: "a dup is open")
      _ = consume dup
      try bench.eventuallyReclaimed("the dup is closed")
    },

    HeapCheck("child-by-foreign-code", "a descriptor that foreign code took over is a child") {
      bench in
      let descriptor = try bench.allocate().releaseDescriptor()
      try bench.expectStillLive(while: "foreign code holds the descriptor")
      let adopted = try VMO(adopting: descriptor)
      try expectEqual(
        try bench.heap.info(of: adopted).bufferCollectionID, CheckBench.collection,
        "the collection of the adopted descriptor")
      _ = consume adopted
      try bench.eventuallyReclaimed("it is adopted and closed")
    },

    HeapCheck("child-by-passing", "a descriptor in another process is a child") { bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      let count = try bench.referenceCount(of: vmo)
      try peer.hold(vmo)
      try bench.expectCount(count, plus: 1, of: vmo, "after passing")
      _ = consume vmo
      try bench.expectStillLive(while: "another process holds the descriptor")
      try peer.closeDescriptor()
      try bench.eventuallyReclaimed("the other process closed it")
    },

    HeapCheck("shared-bytes", "what one process writes the other reads", on: mappable) { bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      try peer.hold(vmo)
      try peer.map(byteCount: vmo.byteCount)
      try vmo.fill(0x11)
      try expectEqual(try peer.read(at: vmo.byteCount - 1), 0x11, "the byte read over there")
      try peer.write(0x22, at: pageSize)
      try expectEqual(try vmo.byte(at: Int(pageSize)), 0x22, "the byte written over there")
    },

    HeapCheck("child-in-flight", "a descriptor in a message that nobody received is a child") {
      bench in
      let pair = try MessageSocket.Pair()
      let vmo = try bench.allocate()
      let count = try bench.referenceCount(of: vmo)
      try pair.near.send([0], passing: vmo)
      try bench.expectCount(count, plus: 1, of: vmo, "while in flight")
      _ = consume vmo
      try bench.expectStillLive(while: "a message in flight holds it")
      _ = consume pair
      try bench.eventuallyReclaimed("the socket is gone")
    },

    HeapCheck(
      "child-by-mapping", "a mapping in another process is a child without a descriptor",
      on: mappable
    ) { bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      let byteCount = vmo.byteCount
      try peer.hold(vmo)
      try peer.map(byteCount: byteCount)
      try peer.closeDescriptor()
      _ = consume vmo
      try bench.expectStillLive(while: "another process maps it")
      try peer.write(7, at: 0)
      try expectEqual(try peer.read(at: 0), 7, "a byte of the mapping")
      try peer.unmap(byteCount: byteCount)
      try bench.eventuallyReclaimed("the other process unmapped it")
    },

    HeapCheck(
      "child-by-partial-mapping", "the last mapped page is a child, holes or not", on: mappable
    ) { bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      let byteCount = vmo.byteCount
      try peer.hold(vmo)
      try peer.map(byteCount: byteCount)
      try peer.closeDescriptor()
      let count = try bench.referenceCount(of: vmo)
      try peer.unmap(offset: 4 * pageSize, byteCount: pageSize)
      try bench.expectCount(count, plus: 1, of: vmo, "after a hole")
      _ = consume vmo
      try bench.expectStillLive(while: "a mapping with a hole is left")
      try peer.unmap(offset: 0, byteCount: 4 * pageSize)
      try peer.unmap(offset: 5 * pageSize, byteCount: byteCount - 6 * pageSize)
      try bench.expectStillLive(while: "one page is mapped")
      try peer.unmap(offset: byteCount - pageSize, byteCount: pageSize)
      try bench.eventuallyReclaimed("the last page is unmapped")
    },

    HeapCheck(
      "child-exits-mapped", "a process that exits lets go of whole and partial mappings",
      on: mappable
    ) { bench in
      for part in [CheckBench.size, 2 * pageSize] {
        let peer = try Peer()
        let vmo = try bench.allocate()
        try peer.hold(vmo)
        try peer.map(byteCount: CheckBench.size)
        if part < CheckBench.size {
          try peer.unmap(offset: part, byteCount: CheckBench.size - part)
        }
        _ = consume vmo
        try bench.expectStillLive(while: "the process runs")
        _ = consume peer
        try bench.eventuallyReclaimed("the process exited with \(part.asByteCount) mapped")
      }
    },

    HeapCheck("child-by-fork", "a forked child holds what its parent held") { bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      try peer.hold(vmo)
      let isMapped = bench.isMappable
      if isMapped { try peer.map(byteCount: CheckBench.size) }
      let count = try bench.referenceCount(of: vmo)
      try peer.forkHolder()
      try bench.expectCount(count, plus: isMapped ? 2 : 1, of: vmo, "after a fork")
      try peer.closeDescriptor()
      if isMapped { try peer.unmap(byteCount: CheckBench.size) }
      _ = consume vmo
      try bench.expectStillLive(while: "the forked child lives")
      try peer.killHolder()
      try bench.eventuallyReclaimed("the forked child is gone")
    },

    HeapCheck("child-killed", "a holder that is killed lets go") { bench in
      let peer = try Peer()
      let vmo = try bench.allocate()
      try peer.hold(vmo)
      if bench.isMappable { try peer.map(byteCount: CheckBench.size) }
      _ = consume vmo
      try bench.expectStillLive(while: "the process runs")
      try peer.kill()
      try bench.eventuallyReclaimed("the process was killed")
    },
  ]
}
