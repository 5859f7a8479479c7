internal import Glibc
internal import LinuxHeaps

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
