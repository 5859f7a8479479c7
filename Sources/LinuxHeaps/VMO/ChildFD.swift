internal import Glibc
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
    _ = Glibc.close(rawValue)
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
