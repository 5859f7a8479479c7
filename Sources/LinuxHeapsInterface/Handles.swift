internal import CLibrary
public import CLinuxHeapsInterface
internal import LinuxHeaps
internal import Synchronization

// A `lheap_vmo` is a VMO.

private func vmo(_ pointer: OpaquePointer) -> UnsafeMutablePointer<VMO> {
  unsafe UnsafeMutablePointer(pointer)
}

/// Stores what is made of a vmo.
private func derive(
  _ vmo: OpaquePointer?, _ result: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?, _ operation: String,
  _ make: (borrowing VMO) throws(HeapError) -> VMO
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let result = unsafe try place(result, operation)
    unsafe result.pointee = stored(try withObject(vmo, operation, make))
  }
}

@_cdecl("lheap_vmo_adopt_take")
public func vmoAdopt(
  _ descriptor: CInt, _ vmo: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "adopt descriptor \(descriptor)"
  return unsafe answer(error) { () throws(HeapError) in
    guard descriptor >= 0 else {
      throw HeapError(.badHandle, operation, cause: "it is no descriptor")
    }
    let owned = OwnedFD(adopting: descriptor)
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    let vmo = unsafe try place(vmo, operation)
    unsafe vmo.pointee = stored(try VMO(adopting: owned))
  }
}

@_cdecl("lheap_vmo_duplicate")
public func vmoDuplicate(
  _ vmo: OpaquePointer?, _ duplicate: UnsafeMutablePointer<OpaquePointer?>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe derive(vmo, duplicate, error, "duplicate a vmo") { (vmo) throws(HeapError) in
    try vmo.duplicate()
  }
}

@_cdecl("lheap_vmo_slice")
public func vmoSlice(
  _ vmo: OpaquePointer?, _ offset: UInt64, _ byteCount: UInt64,
  _ slice: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe derive(vmo, slice, error, "slice a vmo") { (vmo) throws(HeapError) in
    try vmo.slice(offset: offset, byteCount: byteCount)
  }
}

@_cdecl("lheap_vmo_close")
public func vmoClose(_ vmo: OpaquePointer?) { unsafe free(vmo, as: VMO.self) }

@_cdecl("lheap_vmo_release_fd")
public func vmoRelease(_ vmo: OpaquePointer) -> CInt {
  unsafe taken(vmo, as: VMO.self).releaseDescriptor().release()
}

@_cdecl("lheap_vmo_lend_fd")
public func vmoDescriptor(_ pointer: OpaquePointer) -> CInt {
  unsafe vmo(pointer).pointee.withDescriptor { $0 }
}

@_cdecl("lheap_vmo_offset")
public func vmoOffset(_ pointer: OpaquePointer) -> UInt64 { unsafe vmo(pointer).pointee.offset }

@_cdecl("lheap_vmo_byte_count")
public func vmoByteCount(_ pointer: OpaquePointer) -> UInt64 {
  unsafe vmo(pointer).pointee.byteCount
}

extension VMO.Kind {
  fileprivate var number: CInt {
    switch self {
    case .dmaBuf: CInt(LHEAP_DMA_BUF.rawValue)
    case .memfd: CInt(LHEAP_MEMFD.rawValue)
    case .opaque: CInt(LHEAP_OPAQUE.rawValue)
    }
  }
}

@_cdecl("lheap_vmo_kind")
public func vmoKind(_ pointer: OpaquePointer) -> CInt { unsafe vmo(pointer).pointee.kind.number }

/// Of heaps there are few, and their names are kept: in a list that only grows, for a child of fork(2) could find a lock taken.
private let firstHeapName = AtomicLazyReference<HeapName>()

private final class HeapName: Sendable {
  let text: CText
  let next = AtomicLazyReference<HeapName>()

  init(_ name: String) { text = CText(name) }
}

@_cdecl("lheap_vmo_heap_name")
public func vmoHeapName(_ pointer: OpaquePointer) -> UnsafePointer<CChar>? {
  guard let name = unsafe vmo(pointer).pointee.heapName else { return nil }
  var known = firstHeapName.load() ?? firstHeapName.storeIfNil(HeapName(name))
  while let text = unsafe known.text.bytes, unsafe strcmp(text, name) != 0 {
    known = known.next.load() ?? known.next.storeIfNil(HeapName(name))
  }
  return unsafe known.text.bytes
}

@_cdecl("lheap_vmo_set_name")
public func vmoSetName(
  _ vmo: OpaquePointer?, _ name: UnsafePointer<CChar>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let name = try unsafe text(name, "name a vmo")
    try unsafe withObject(vmo, "name a vmo") { (vmo: borrowing VMO) throws(HeapError) in
      try vmo.setName(name)
    }
  }
}

@_cdecl("lheap_fd_info")
public func descriptorInfo(
  _ descriptor: CInt, _ info: UnsafeMutablePointer<lheap_buffer_info>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "look at descriptor \(descriptor)"
  return unsafe answer(error) { () throws(HeapError) in
    let structure = unsafe try place(info, operation)
    let facts = try BufferFacts(duplicate(descriptor, operation), operation)
    var info = lheap_buffer_info()
    info.device = facts.identity.device
    info.inode = facts.identity.inode
    info.byte_count = facts.byteCount
    info.kind = facts.kind.number
    info.reference_count = facts.referenceCount.map { CInt(clamping: $0) } ?? -1
    copy(facts.exporterName, to: &info.exporter)
    copy(facts.name, to: &info.name)
    try unsafe write(info, to: structure, operation)
  }
}

/// Into a field of fixed size, which ends with a NUL; what does not fit is left out.
private func copy<Field>(_ text: String?, to field: inout Field) {
  let bytes = Array((text ?? "").utf8)
  unsafe withUnsafeMutableBytes(of: &field) { field in
    unsafe field.copyBytes(from: bytes.prefix(field.count - 1))
  }
}
