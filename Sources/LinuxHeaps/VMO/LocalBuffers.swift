/// The live buffers of this process by identity, so that a descriptor that comes back from foreign
/// code, or from another process, is known again.
final class LocalBuffers: Sendable {
  static let shared = LocalBuffers()

  private let buffers = Guarded<[VMOIdentity: Buffer]>([:])

  subscript(identity: VMOIdentity) -> Buffer? { buffers.withLock { $0[identity] } }

  func insert(_ buffer: Buffer, as identity: VMOIdentity) {
    buffers.withLock { $0[identity] = buffer }
  }

  func remove(_ identity: VMOIdentity) {
    buffers.withLock { _ = $0.removeValue(forKey: identity) }
  }
}
