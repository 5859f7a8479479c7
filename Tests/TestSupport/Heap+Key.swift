package import LinuxHeaps

extension BufferKey {
  /// One that no other test uses.
  package static func fresh(_ index: UInt64 = 0) -> BufferKey {
    BufferKey(bufferCollectionID: .random(in: 1 ... .max), bufferIndex: index)
  }
}

extension Heap {
  package func allocate(
    _ key: BufferKey, size: UInt64 = pageSize, cleanup: [CleanupAction] = []
  ) throws(HeapError) -> VMO {
    try allocateVmo(
      size: size, settings: SingleBufferSettings(), bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex, cleanup: cleanup)
  }
}

/// Closes a handle here and not at the end of the scope.
package func close(_ vmo: consuming VMO) {}
