/// One holder of a buffer inside this process, a descriptor or a mapping.
///
/// Trivially copyable, so that the types that own descriptors and mappings can `discard self`; whoever
/// stores one calls ``end()`` once, after the descriptor is closed or the mapping gone.
@safe
struct LocalReference: Sendable {
  /// Retained; nil for a buffer of another process.
  private let buffer: Unmanaged<Buffer>?

  init(_ buffer: Buffer?) {
    buffer?.beginLocalReference()
    unsafe self.buffer = buffer.map { unsafe Unmanaged.passRetained($0) }
  }

  /// One more holder of the same buffer.
  func another() -> LocalReference {
    LocalReference(unsafe buffer?.takeUnretainedValue())
  }

  func end() {
    unsafe buffer?.takeRetainedValue().endLocalReference()
  }

  /// The descriptor stays open, with an owner who knows no buffers.
  func endLeavingOpen() {
    unsafe buffer?.takeRetainedValue().endLocalReferenceLeavingOpen()
  }
}
