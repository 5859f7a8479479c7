internal import SystemPackage

extension LiveBuffers {
  /// Takes a buffer over whose parent another process kept, e.g. a server before this one.
  ///
  /// - Parameters:
  ///   - parent: A descriptor of the parent's own open file.
  ///   - copies: How many more of it there are that are no children.
  ///   - withdrawal: Has the copies closed. Called once, when nothing but them seems to be left.
  /// Its children are looked for at once. Throws ``HeapError/Code/alreadyExists`` while (collection,
  /// index) is taken, ``HeapError/Code/wrongType`` for what is no dma-buf and no memfd.
  package func takeOver(
    _ key: BufferKey, parent descriptor: consuming OwnedFD, copies: Int,
    withdrawal: @escaping CleanupAction, cleanup: [CleanupAction], admission: Admission,
    waiter: @escaping Waiter
  ) throws(HeapError) -> TakenOver {
    let operation = "take over buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)"
    guard reserve(key) else {
      throw HeapError(.alreadyExists, operation, cause: "that buffer is live")
    }
    do throws(HeapError) {
      let found = try InheritedParent(descriptor, named: key.description, operation)
      found.parent.setCopies(copies)
      let grant = admission.take(found.byteCount)
      let buffer = buffer(key, found.parent, found.byteCount, grant, cleanup)
      buffer.setWithdrawal(withdrawal)
      try attempt(operation) { () throws(Errno) in try reclaimer.core.add(buffer) }
      record(key, buffer, found.parent.identity)
      _ = whenReclaimed(found.parent.identity, waiter)
      reclaimer.core.check(buffer)
      return TakenOver(byteCount: found.byteCount, hasMemory: found.hasMemory)
    } catch {
      forget(key)
      throw error
    }
  }

  package struct TakenOver {
    package let byteCount: UInt64
    /// False for a vmo without pages.
    package let hasMemory: Bool
  }
}
