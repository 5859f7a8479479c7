internal import CLibrary
internal import LinuxHeaps

// Bytes of a buffer, each time in a bracket of its own. The loops are the C library's: those of an
// unoptimised build would take minutes on an emulated machine.

extension Mapping where Rights == ReadWrite {
  borrowing func fill(_ value: UInt8) throws(HeapError) {
    var access = try writeAccess()
    access.fill(value)
    try access.end()
  }

  borrowing func store(_ value: UInt8, at offset: Int) throws(HeapError) {
    var access = try writeAccess()
    access.store(value, at: offset)
    try access.end()
  }
}

extension Mapping {
  borrowing func byte(at offset: Int) throws(HeapError) -> UInt8 {
    let access = try readAccess()
    return unsafe access.bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }

  fileprivate borrowing func isZero() throws(HeapError) -> Bool {
    let access = try readAccess()
    return unsafe access.bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return true }
      return unsafe bytes[0] == 0 && memcmp(start, start + 1, bytes.count - 1) == 0
    }
  }
}

extension VMO {
  func fill(_ value: UInt8) throws(HeapError) { try map().fill(value) }

  func byte(at offset: Int) throws(HeapError) -> UInt8 { try mapReadOnly().byte(at: offset) }

  var isZero: Bool {
    get throws(HeapError) { try mapReadOnly().isZero() }
  }
}

extension CPUAccess where Rights == ReadWrite {
  @_lifetime(self: copy self)
  mutating func fill(_ value: UInt8) {
    var span = mutableBytes
    unsafe span.withUnsafeMutableBytes { bytes in
      _ = unsafe memset(bytes.baseAddress!, CInt(value), bytes.count)
    }
  }

  @_lifetime(self: copy self)
  mutating func store(_ value: UInt8, at offset: Int) {
    var span = mutableBytes
    span.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
  }
}
