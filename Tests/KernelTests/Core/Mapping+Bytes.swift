@testable import LinuxHeaps

extension Mapping {
  func byte(at offset: Int) throws(HeapError) -> UInt8 {
    let access = try readAccess()
    return unsafe access.bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
  }
}

extension Mapping where Rights == ReadWrite {
  func setByte(_ value: UInt8, at offset: Int) throws(HeapError) {
    var access = try writeAccess()
    var bytes = access.mutableBytes
    bytes.storeBytes(of: value, toByteOffset: offset, as: UInt8.self)
  }
}
