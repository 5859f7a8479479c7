@testable import LinuxHeaps

/// A deletion waits for its buffer's end however long, and no test is to.
struct DeletionHangs: Error {}

extension Heap {
  func delete(_ key: BufferKey, _ vmo: consuming VMO) async throws {
    if let error = try await refusalToDelete(key, vmo) { throw error }
  }

  /// The error of a deletion that has to be refused; nil where it was not.
  func refusalToDelete(_ key: BufferKey, _ vmo: consuming VMO) async throws -> HeapError? {
    let handle = ReturnedVMO(vmo)
    let answer = Guarded<Result<Void, HeapError>?>(nil)
    let deletion = Task {
      do throws(HeapError) {
        try await deleteVmo(
          bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex,
          vmo: handle.take()!)
        answer.withLock { $0 = .success(()) }
      } catch {
        answer.withLock { $0 = .failure(error) }
      }
    }
    guard try await eventuallyHolds({ answer.withLock { $0 != nil } }) else {
      throw DeletionHangs()
    }
    await deletion.value
    guard case .failure(let error) = answer.withLock({ $0 }) else { return nil }
    return error
  }
}
