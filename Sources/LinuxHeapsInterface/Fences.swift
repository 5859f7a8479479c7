internal import CLinuxHeapsInterface
internal import LinuxHeaps

private func use(_ access: CInt, _ operation: String) throws(HeapError) -> BufferUse {
  try isWriting(access, operation) ? .writing : .reading
}

/// A fence of one that is lent.
private func fence(_ descriptor: CInt, _ operation: String) throws(HeapError) -> Fence {
  try Fence(adopting: duplicate(descriptor, operation))
}

@_cdecl("lheap_vmo_export_fence")
public func vmoExportFence(
  _ vmo: OpaquePointer?, _ access: CInt, _ fence: UnsafeMutablePointer<CInt>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "export the fences of a vmo"
  return unsafe answer(error) { () throws(HeapError) in
    let fence = unsafe try place(fence, operation)
    let use = try use(access, operation)
    unsafe fence.pointee = try withObject(vmo, operation) {
      (vmo: borrowing VMO) throws(HeapError) in
      try vmo.fence(before: use).releaseDescriptor().release()
    }
  }
}

@_cdecl("lheap_vmo_import_fence")
public func vmoImportFence(
  _ vmo: OpaquePointer?, _ descriptor: CInt, _ access: CInt,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "import a fence into a vmo"
  return unsafe answer(error) { () throws(HeapError) in
    let use = try use(access, operation)
    try unsafe withObject(vmo, operation) { (vmo: borrowing VMO) throws(HeapError) in
      try vmo.add(try fence(descriptor, operation), for: use)
    }
  }
}

@_cdecl("lheap_fence_merge")
public func fenceMerge(
  _ one: CInt, _ other: CInt, _ merged: UnsafeMutablePointer<CInt>?,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "merge two fences"
  return unsafe answer(error) { () throws(HeapError) in
    let merged = unsafe try place(merged, operation)
    let both = try fence(one, operation).merged(with: fence(other, operation))
    unsafe merged.pointee = both.releaseDescriptor().release()
  }
}

@_cdecl("lheap_fence_wait")
public func fenceWait(
  _ descriptor: CInt, _ nanoseconds: Int64, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    try fence(descriptor, "wait for a fence")
      .wait(for: nanoseconds < 0 ? nil : .nanoseconds(nanoseconds))
  }
}
