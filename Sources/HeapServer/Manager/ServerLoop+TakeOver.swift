internal import LinuxHeaps
internal import Logging

/// A buffer's parent that a server before this one had the service manager keep.
public final class InheritedBuffer: Sendable {
  let name: StoredBufferName
  private let descriptor: Guarded<OwnedFD?>

  init(_ name: StoredBufferName, _ descriptor: consuming OwnedFD) {
    self.name = name
    self.descriptor = Guarded(descriptor)
  }

  /// Once; nil after that. Moved and not copied, because a copy that stayed here would be a child.
  func takeDescriptor() -> OwnedFD? { descriptor.withLock { $0.take() } }
}

extension ServerLoop {
  /// Takes up what the server before this one left: info, deletions and quotas go on.
  func takeOver(_ buffers: [InheritedBuffer]) {
    guard !buffers.isEmpty else { return }
    var bytes: UInt64 = 0
    for buffer in buffers { bytes += takeOver(buffer) }
    log.notice(
      "took over the buffers of the server before this one",
      metadata: ["buffers": "\(ledger.total.buffers)", "bytes": "\(bytes.asByteCount)"])
  }

  private func takeOver(_ buffer: InheritedBuffer) -> UInt64 {
    guard let descriptor = buffer.takeDescriptor() else { return 0 }
    let name = buffer.name
    let slot = store?.newSlot()
    slot?.isKept(as: name)
    let mailbox = self.mailbox
    do throws(HeapError) {
      // Two of our own: this process's, and the manager's.
      let taken = try heap.buffers.takeOver(
        name.key, parent: descriptor, copies: 1,
        withdrawal: { slot?.drop() }, cleanup: slot.map { slot in [{ slot.drop() }] } ?? [],
        admission: .standard
      ) { mailbox.post(.reclaimed(name.key)) }
      let bytes = taken.hasMemory ? taken.byteCount : 0
      ledger.takeOver(name.key, bytes, of: name.user, heap: name.heap)
      metrics.tookOver(bytes, heap: name.heap)
      return bytes
    } catch {
      log.error(
        "a kept descriptor is of no use",
        metadata: ["name": "\(name.description)", "error": "\(error)"])
      // Of two under one name the manager would drop both.
      if error.code != .alreadyExists { slot?.drop() }
      return 0
    }
  }
}
