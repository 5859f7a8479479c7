internal import LinuxHeaps

// What the model says of the world, asked of the world.

extension StressWorld {
  /// A buffer that has holders lives, is known by its name, and has as many references as the model says.
  ///
  /// - Returns: Whether the kernel's count was compared.
  func expectAlive(_ id: Int, _ model: StressModel) throws -> Bool {
    guard !refused.contains(id) else { return false }
    let buffer = buffers[id]!
    let isDeleting = model.buffer(id).isDeleting
    let held = "while the model has \(model.references(to: id) - 1) references to it"
    let heard = buffer.record.heard
    try expectEqual(heard.cleanups, 0, "the clean-ups of buffer \(id) \(held)")
    try expect(!heard.isReclaimed, "buffer \(id) is not reclaimed \(held)")
    try expect(!heard.isDeletionOver, "the deletion of buffer \(id) has not returned \(held)")
    let buffers = heap.buffers
    try expectEqual(
      buffers.keyUntilReclaimed(of: buffer.identity), buffer.key, "the name of buffer \(id) \(held)"
    )
    try expectEqual(
      buffers.key(of: buffer.identity), isDeleting ? nil : buffer.key,
      "what the heap tells of buffer \(id), \(isDeleting ? "deleted" : "not deleted"), \(held)")
    if let handle = model.handles.first(where: { $0.part.buffer == id }) {
      try expectTold(buffer.key, by: handles[handle.id]!, isDeleting: isDeleting)
    }
    return try expectCount(id, model)
  }

  private func expectTold(
    _ key: BufferKey, by handle: StressHandle, isDeleting: Bool
  ) throws {
    var told: BufferKey?
    do throws(HeapError) {
      told = try handle.with { (vmo) throws(HeapError) in try heap.info(of: vmo) }
    } catch {
      if error.code != .notFound { throw error }
    }
    try expectEqual(told, isDeleting ? nil : key, "what a handle tells of its buffer")
  }

  private func expectCount(_ id: Int, _ model: StressModel) throws -> Bool {
    guard try count(id, model) != nil else { return false }
    let wanted = model.references(to: id)
    do {
      // What another process lets go of at its end, and who reads /proc meanwhile, shows for a moment.
      try events.wait(isTold: false, "") { try count(id, model) == wanted }
    } catch is Broken {
      try expectEqual(try count(id, model), wanted, "the kernel's count of buffer \(id)")
    }
    return true
  }

  /// Nil where the kernel has none, or nobody here can ask for it: once the deletion has begun the heap
  /// does not tell it, and handles may be elsewhere.
  private func count(_ id: Int, _ model: StressModel) throws(HeapError) -> Int? {
    if model.buffer(id).isDeleting {
      guard let handle = model.handles.first(where: { $0.part.buffer == id }) else { return nil }
      return try handles[handle.id]!.with { (vmo) throws(HeapError) in try vmo.referenceCount }
    }
    return try heap.buffers.referenceCount(of: buffers[id]!.key)
  }

  /// A buffer that lost its last holder is reclaimed, cleaned up once, and its deletion returns.
  func expectGone(_ gone: StressModel.Buffer) throws {
    guard !refused.contains(gone.id) else { return }
    let record = buffers[gone.id]!.record
    try events.wait("buffer \(gone.id), which nobody holds any more, is reclaimed") {
      record.heard.isReclaimed
    }
    try expectEqual(record.heard.cleanups, 1, "the clean-ups of buffer \(gone.id), which is gone")
    if gone.isDeleting {
      try events.wait("the deletion of buffer \(gone.id), which is gone, returns") {
        record.heard.isDeletionOver
      }
    }
    forget(gone.id)
  }
}
