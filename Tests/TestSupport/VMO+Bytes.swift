package import LinuxHeaps

// One byte at a time, in a bracket of its own.

extension VMO {
  package func poke(_ value: UInt8, at offset: Int) throws(HeapError) {
    try map().poke(value, at: offset)
  }

  package func peek(at offset: Int) throws(HeapError) -> UInt8 {
    try mapReadOnly().peek(at: offset)
  }
}

extension Mapping where Rights == ReadWrite {
  package borrowing func poke(_ value: UInt8, at offset: Int) throws(HeapError) {
    var access = try writeAccess()
    var bytes = access.mutableBytes
    bytes.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
    try access.end()
  }
}

extension Mapping {
  package borrowing func peek(at offset: Int) throws(HeapError) -> UInt8 {
    let access = try readAccess()
    return unsafe access.bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }
}
