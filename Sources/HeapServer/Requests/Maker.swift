internal import Glibc
internal import LinuxHeaps

/// Makes a buffer, on any thread.
struct Maker: Sendable {
  let heap: any LocalHeap
  let store: ParentStore?
  let mailbox: Mailbox<Message>

  func make(
    _ size: UInt64, _ settings: SingleBufferSettings, _ key: BufferKey, for user: uid_t
  ) -> Result<Allocation, HeapError> {
    let slot = store?.newSlot()
    do throws(HeapError) {
      let vmo = try heap.allocateVmo(
        size: size, settings: settings, bufferCollectionID: key.bufferCollectionID,
        bufferIndex: key.bufferIndex, cleanup: slot.map { slot in [{ slot.drop() }] } ?? [])
      let allocation = Allocation(vmo)
      let mailbox = self.mailbox
      _ = heap.buffers.whenReclaimed(allocation.identity) { mailbox.post(.reclaimed(key)) }
      slot?.keep(
        heap.buffers, allocation.identity,
        as: StoredBufferName(key: key, user: user, heap: allocation.heap))
      return .success(allocation)
    } catch {
      return .failure(error)
    }
  }
}
