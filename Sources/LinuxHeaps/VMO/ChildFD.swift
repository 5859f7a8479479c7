internal import CLibrary
internal import SystemPackage

/// A child's descriptor; its close is told to the buffer at once.
struct ChildFD: ~Copyable, Sendable {
  let rawValue: CInt
  let reference: LocalReference

  init(_ descriptor: consuming OwnedFD, of buffer: Buffer?) {
    // Counted before anything else, so that no check finds the buffer unreferenced in between.
    reference = LocalReference(buffer)
    rawValue = descriptor.release()
  }

  private init(_ rawValue: CInt, _ reference: LocalReference) {
    self.rawValue = rawValue
    self.reference = reference
  }

  deinit {
    _ = CLibrary.close(rawValue)
    reference.end()
  }

  func duplicate() throws(Errno) -> ChildFD {
    let number = rawValue
    return ChildFD(try call { fcntl(number, F_DUPFD_CLOEXEC, 0) }, reference.another())
  }

  /// The buffer counts it from now on as it counts a holder in another process.
  consuming func release() -> OwnedFD {
    let descriptor = OwnedFD(adopting: rawValue)
    let reference = self.reference
    discard self
    reference.endLeavingOpen()
    return descriptor
  }
}

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
