internal import SystemPackage

/// A dma-buf descriptor that its heap keeps; its children are dups of it.
///
/// fdinfo's `count` is every reference to the open file in the whole system. Left alone with its
/// parent it is 1, so 1 means that no descriptor, mapping, message in flight or device import is
/// left. The kernel sends no event when it falls.
final class DMABufParent: Parent {
  /// The memfd under a udmabuf, of which further slices can be made.
  struct Pages: Sendable {
    let memfd: SharedFD
    /// Bytes from the memfd's start to the dma-buf's.
    let offset: UInt64
  }

  private struct State: ~Copyable {
    let fd: OwnedFD
    let pages: Pages?
    var copies = 0
  }

  let identity: VMOIdentity
  let kind = VMO.Kind.dmaBuf
  let watchedDescriptor: CInt? = nil
  private let state: Guarded<State?>

  /// Keeps a new dma-buf and names it for every tool that lists them.
  ///
  /// Where counts cannot be read, a buffer could never be seen to be free again: none is made there.
  init(_ descriptor: consuming OwnedFD, name: String, pages: Pages? = nil) throws(Errno) {
    try DMABuf.setName(name, of: descriptor.rawValue)
    identity = VMOIdentity(try descriptor.status())
    try Self.checkCounts(descriptor.rawValue)
    state = Guarded(State(fd: descriptor, pages: pages))
  }

  /// Whether counts were seen to be told here: /proc can be absent, or hidden.
  private static let countsAreTold = Guarded(false)

  private static func checkCounts(_ number: CInt) throws(Errno) {
    try countsAreTold.withLock { isKnown throws(Errno) in
      if isKnown { return }
      if try FDInfo.read(number) == nil { throw .inappropriateIOCTLForDevice }
      isKnown = true
    }
  }

  /// A new child: a dup, because a dma-buf cannot be reopened.
  func openChild() throws(Errno) -> OwnedFD {
    try state.withLock { state throws(Errno) in
      switch state {
      case .some(let state): try state.fd.duplicate()
      case .none: throw .badFileDescriptor
      }
    }
  }

  func eventsAreWatched() {}

  var pages: Pages? { state.withLock { $0?.pages } }

  func referenceCount() throws(Errno) -> Int? {
    try state.withLock { state throws(Errno) in
      guard let number = state?.fd.rawValue else { return nil }
      // What cannot be read must not be taken for free.
      guard let info = try FDInfo.read(number) else { throw .ioError }
      return info.count
    }
  }

  func children(_ counts: FDInfoFiles) throws(Errno) -> Children {
    try state.withLock { state throws(Errno) in
      guard let number = state?.fd.rawValue, let copies = state?.copies else { return .none }
      // What cannot be read must not be taken for free.
      guard let count = try counts.count(of: number) else { throw .ioError }
      let others = count - 1
      if others <= 0 { return .none }
      return others > copies ? .some : .copies
    }
  }

  func withDescriptor(_ body: (CInt) -> Void) {
    state.withLock { state in if let number = state?.fd.rawValue { body(number) } }
  }

  func setCopies(_ count: Int) { state.withLock { $0?.copies = count } }

  func close() { state.withLock { $0 = nil } }
}
