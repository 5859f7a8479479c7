internal import CLibrary
internal import CLinuxHeaps
public import CLinuxHeapsInterface
internal import HeapClient
internal import LinuxHeaps
internal import SystemPackage

/// A function of the caller's and what it is called with, which may be used on any thread.
@safe private struct Action: @unchecked Sendable {
  let function: @convention(c) (UnsafeMutableRawPointer?) -> Void
  let data: UnsafeMutableRawPointer?
}

extension lheap_settings {
  fileprivate func has(_ flag: lheap_allocate_flags) -> Bool {
    unsafe flags & flag.rawValue != 0
  }

  fileprivate var actions: [CleanupAction] {
    guard let function = unsafe cleanup else { return [] }
    let action = unsafe Action(function: function, data: data)
    return [{ unsafe action.function(action.data) }]
  }
}

private func allocate(
  _ heap: OpaquePointer?, _ byteCount: UInt64, _ settings: UnsafePointer<lheap_settings>?
) throws(HeapError) -> VMO {
  func operation() -> String { "allocate \(byteCount.asByteCount)" }
  let settings = try unsafe settings.map { settings throws(HeapError) in
    try unsafe read(settings, lheap_settings(), operation())
  }
  let flags = unsafe settings?.flags ?? 0
  guard flags & ~(LHEAP_CONTIGUOUS.rawValue | LHEAP_NAMED.rawValue) == 0 else {
    throw HeapError(.invalidArgs, operation(), cause: "flags \(flags) are not known")
  }
  let key =
    flags & LHEAP_NAMED.rawValue == 0
    ? nil
    : unsafe BufferKey(
      bufferCollectionID: settings!.collection, bufferIndex: settings!.index)
  return try unsafe withHeap(heap, operation()) { (heap) throws(HeapError) in
    try heap.heap.allocate(
      key, byteCount: byteCount, contiguous: flags & LHEAP_CONTIGUOUS.rawValue != 0,
      cleanup: unsafe settings?.actions ?? [])
  }
}

@_cdecl("lheap_allocate")
public func heapAllocate(
  _ heap: OpaquePointer?, _ byteCount: UInt64, _ settings: UnsafePointer<lheap_settings>?,
  _ vmo: UnsafeMutablePointer<OpaquePointer?>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let vmo = unsafe try place(vmo, "allocate \(byteCount.asByteCount)")
    unsafe vmo.pointee = stored(try allocate(heap, byteCount, settings))
  }
}

@_cdecl("lheap_allocate_fd")
public func heapAllocateDescriptor(
  _ heap: OpaquePointer?, _ byteCount: UInt64, _ settings: UnsafePointer<lheap_settings>?,
  _ descriptor: UnsafeMutablePointer<CInt>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  unsafe answer(error) { () throws(HeapError) in
    let descriptor = unsafe try place(descriptor, "allocate \(byteCount.asByteCount)")
    unsafe descriptor.pointee = try allocate(heap, byteCount, settings).releaseDescriptor()
      .release()
  }
}

@_cdecl("lheap_delete")
public func heapDelete(
  _ heap: OpaquePointer?, _ vmo: OpaquePointer?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "delete a vmo"
  return unsafe answer(error) { () throws(HeapError) in
    try unsafe withObject(heap, operation) { (heap: borrowing CHeap) throws(HeapError) in
      let vmo = unsafe taken(try object(vmo, operation), as: VMO.self)
      // Taken all the same: what C gave is freed.
      try CHeap.checkFork(operation)
      try delete(vmo, from: heap)
    }
  }
}

private func delete(_ vmo: consuming VMO, from heap: borrowing CHeap) throws(HeapError) {
  do throws(HeapError) {
    let key = try heap.heap.info(of: vmo)
    switch heap.source {
    case .local(let heap):
      try heap.deleteVmo(
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
    case .remote(let heap):
      try heap.deleteVmo(
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
    }
  } catch {
    // A heap gives back what it refused; a service that ended meanwhile cannot. C has one rule for both, and no handle waits in the
    // error.
    _ = error.returnedVMO?.take()
    throw error
  }
}

@_cdecl("lheap_buffer_of")
public func heapBuffer(
  _ heap: OpaquePointer?, _ vmo: OpaquePointer?, _ collection: UnsafeMutablePointer<UInt64>?,
  _ index: UnsafeMutablePointer<UInt64>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "ask which buffer a vmo is of"
  return unsafe answer(error) { () throws(HeapError) in
    let key = try unsafe withHeap(heap, operation) { (heap) throws(HeapError) in
      try unsafe withObject(vmo, operation) { (vmo: borrowing VMO) throws(HeapError) in
        try heap.heap.info(of: vmo)
      }
    }
    if let collection = unsafe collection { unsafe collection.pointee = key.bufferCollectionID }
    if let index = unsafe index { unsafe index.pointee = key.bufferIndex }
  }
}

@_cdecl("lheap_track")
public func heapTrack(
  _ heap: OpaquePointer?, _ collection: UInt64, _ remaining: UInt32,
  _ descriptor: UnsafeMutablePointer<CInt>?, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> CInt {
  let operation = "watch collection \(collection)"
  return unsafe answer(error) { () throws(HeapError) in
    let descriptor = unsafe try place(descriptor, operation)
    try unsafe withHeap(heap, operation) { (heap) throws(HeapError) in
      var ends: [CInt] = [-1, -1]
      try attempt(operation) { () throws(Errno) in
        _ = try call {
          switch heap.source {
          // It hangs up also where a child of fork(2) has a copy of the heap's end.
          case .local:
            unsafe socketpair(AF_UNIX, number(SOCK_STREAM) | number(SOCK_CLOEXEC), 0, &ends)
          // A service takes no socket: messages on it could hold what is waited for.
          case .remote: unsafe CLinuxHeaps_pipe(&ends)
          }
        }
      }
      let own = OwnedFD(adopting: ends[0])
      let other = OwnedFD(adopting: ends[1])
      try heap.heap.attachLifetimeTracking(
        other, bufferCollectionID: collection, buffersRemaining: remaining)
      unsafe descriptor.pointee = own.release()
    }
  }
}
