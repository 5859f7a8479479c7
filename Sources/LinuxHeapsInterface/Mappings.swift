internal import CLibrary
internal import CLinuxHeapsInterface
internal import LinuxHeaps

/// A `lheap_mapping`.
private enum CMapping: ~Copyable {
  case readOnly(Mapping<ReadOnly>)
  case readWrite(Mapping<ReadWrite>)

  var bytes: UnsafeMutableRawBufferPointer {
    switch self {
    case .readOnly(let mapping):
      unsafe UnsafeMutableRawBufferPointer(start: mapping.address, count: mapping.byteCount)
    case .readWrite(let mapping):
      unsafe UnsafeMutableRawBufferPointer(start: mapping.address, count: mapping.byteCount)
    }
  }

  func bracket(_ access: CInt, isFirst: Bool) throws(HeapError) {
    let operation = isFirst ? "begin CPU access" : "end CPU access"
    let writes = try isWriting(access, operation)
    switch self {
    case .readOnly(let mapping):
      if writes {
        throw HeapError(
          .invalidArgs, operation, cause: "the mapping is for reading",
          fix: "map with LHEAP_READ_WRITE")
      }
      isFirst ? try mapping.begin(ReadOnly.self) : try mapping.end(ReadOnly.self)
    case .readWrite(let mapping):
      if writes {
        isFirst ? try mapping.begin(ReadWrite.self) : try mapping.end(ReadWrite.self)
      } else {
        isFirst ? try mapping.begin(ReadOnly.self) : try mapping.end(ReadOnly.self)
      }
    }
  }
}

/// Who writes may read as well.
func isWriting(_ access: CInt, _ operation: String) throws(HeapError) -> Bool {
  switch access {
  case CInt(LHEAP_READ.rawValue): false
  case CInt(LHEAP_WRITE.rawValue), CInt(LHEAP_READ_WRITE.rawValue): true
  default:
    throw HeapError(
      .invalidArgs, operation, cause: "access \(access) is not known",
      fix: "use LHEAP_READ, LHEAP_WRITE or both")
  }
}

@_cdecl("lheap_map")
public func map(
  _ vmo: OpaquePointer?, _ access: CInt, _ mapping: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "map a vmo"
  return unsafe answer(error) { () throws(HeapError) in
    let mapping = unsafe try place(mapping, operation)
    let writes = try isWriting(access, operation)
    unsafe mapping.pointee = stored(
      try withObject(vmo, operation) { (vmo: borrowing VMO) throws(HeapError) -> CMapping in
        writes ? .readWrite(try vmo.map()) : .readOnly(try vmo.mapReadOnly())
      })
  }
}

@_cdecl("lheap_mapping_data")
public func mappingData(_ mapping: OpaquePointer) -> UnsafeMutableRawPointer? {
  unsafe UnsafeMutablePointer<CMapping>(mapping).pointee.bytes.baseAddress
}

@_cdecl("lheap_mapping_byte_count")
public func mappingByteCount(_ mapping: OpaquePointer) -> Int {
  unsafe UnsafeMutablePointer<CMapping>(mapping).pointee.bytes.count
}

@_cdecl("lheap_mapping_begin")
public func mappingBegin(
  _ mapping: OpaquePointer?, _ access: CInt, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    try unsafe withObject(mapping, "begin CPU access") {
      (mapping: borrowing CMapping) throws(HeapError) in
      try mapping.bracket(access, isFirst: true)
    }
  }
}

@_cdecl("lheap_mapping_end")
public func mappingEnd(
  _ mapping: OpaquePointer?, _ access: CInt, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    try unsafe withObject(mapping, "end CPU access") {
      (mapping: borrowing CMapping) throws(HeapError) in
      try mapping.bracket(access, isFirst: false)
    }
  }
}

@_cdecl("lheap_unmap")
public func unmap(_ mapping: OpaquePointer?) { unsafe free(mapping, as: CMapping.self) }
