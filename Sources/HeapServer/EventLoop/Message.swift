internal import LinuxHeaps

/// What the event loop is told, by other threads and by what it does itself.
enum Message: Sendable {
  case allocated(Ticket, Result<Allocation, HeapError>)
  case reported(connection: UInt64, transaction: UInt32, Result<Report, HeapError>)
  /// All of the buffer is gone.
  case reclaimed(BufferKey)
  /// A worker has taken one back, or found that it cannot; whoever waits for the last may go.
  case wentBack
  /// The holders of buffers whose deletion waits were looked for.
  case searched
  case reload(Policy)
  case stop
}

/// Who asked for an allocation.
struct Ticket: Sendable {
  let connection: UInt64
  let transaction: UInt32
  let key: BufferKey
}

/// A new buffer on its way to its client.
final class Allocation: Sendable {
  let vmo: ReturnedVMO
  let heap: String
  let identity: VMOIdentity
  /// Whether the kernel tells of its last close.
  let isReported: Bool

  init(_ vmo: consuming VMO) {
    heap = vmo.heapName ?? ""
    identity = vmo.identity
    isReported = vmo.kind != .dmaBuf
    self.vmo = ReturnedVMO(vmo)
  }
}
