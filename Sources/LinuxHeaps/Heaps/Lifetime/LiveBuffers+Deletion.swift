internal import SystemPackage

// Handles that come back.

extension LiveBuffers {
  func delete(_ key: BufferKey, _ vmo: consuming VMO) async throws(HeapError) {
    switch beginDeletion(key, vmo.identity) {
    case .begun(let buffer):
      drop(consume vmo, of: buffer)
      await end(of: buffer, key)
    case let refusal:
      let isUnknown = if case .wrongHandle = refusal { false } else { true }
      throw HeapError(
        isUnknown ? .notFound : .badHandle,
        "delete buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)",
        cause: isUnknown
          ? "this heap has no such buffer, or its deletion has begun"
          : "the vmo is another buffer's", returning: ReturnedVMO(vmo))
    }
  }

  /// How a deletion by descriptor begins; a refused one gives the descriptor back.
  package enum Deletion: ~Copyable {
    case begun
    case unknown(OwnedFD)
    case wrongHandle(OwnedFD)
  }

  /// Takes the last handle back, as a descriptor of this identity; ``whenReclaimed(_:_:)`` tells the end,
  /// at once where this handle was the last. Where the deletion has begun before, it joins.
  package func delete(
    _ key: BufferKey, _ descriptor: consuming OwnedFD, _ identity: VMOIdentity
  ) -> Deletion {
    switch beginDeletion(key, identity, joins: true) {
    case .begun(let buffer):
      drop(consume descriptor, of: buffer)
      return .begun
    case .unknown: return .unknown(descriptor)
    case .wrongHandle: return .wrongHandle(descriptor)
    }
  }

  private enum Beginning {
    case begun(Buffer)
    case unknown
    case wrongHandle
  }

  private func beginDeletion(
    _ key: BufferKey, _ identity: VMOIdentity, joins: Bool = false
  ) -> Beginning {
    state.withLock { state in
      let found: Buffer
      switch (state.records[key]?.stage, joins) {
      case (.live(let buffer), _), (.deleting(let buffer), true): found = buffer
      case (.allocating, true): return .wrongHandle
      default: return .unknown
      }
      guard state.keys[identity] == key else { return .wrongHandle }
      state.records[key]?.stage = .deleting(found)
      return .begun(found)
    }
  }

  /// Closes a handle and looks at its buffer, so that in the contract's own case, where the handle was
  /// the last, all is gone on return.
  ///
  /// Holds one more reference meanwhile, so that the close itself wakes nobody.
  private func drop<Handle: ~Copyable>(_ handle: consuming Handle, of buffer: Buffer) {
    buffer.beginLocalReference()
    _ = consume handle
    buffer.endLocalReferenceUnnoticed()
    reclaimer.core.look(at: buffer)
  }

  private func end(of buffer: Buffer, _ key: BufferKey) async {
    await withCheckedContinuation { continuation in
      let isGone = state.withLock { state in
        // Its (collection, index) may be another buffer's by now.
        guard case .deleting(let waiting) = state.records[key]?.stage, waiting === buffer else {
          return true
        }
        state.records[key]?.deletions.append { continuation.resume() }
        return false
      }
      if isGone { continuation.resume() }
    }
  }
}
