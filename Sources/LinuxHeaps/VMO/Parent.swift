package import SystemPackage

/// The side of a buffer that its heap keeps: it holds the memory, and can tell whether any child of
/// it is left, wherever that is. Its end lets the memory go.
package protocol Parent: AnyObject, Sendable {
  /// What the children of this parent have in common with it.
  var identity: VMOIdentity { get }

  var kind: VMO.Kind { get }

  /// Of a dma-buf, a dup of it is a child, also the one that a message makes.
  var descriptor: CInt { get }

  /// The descriptor by which inotify reports the close of each child's open file; nil where the kernel
  /// does not tell of a last child's end, so that the references have to be counted again.
  var watchedDescriptor: CInt? { get }

  /// Asked once, when it is about to go: of a dma-buf that its end closes, the last close of which can wait for as long as somebody
  /// likes; nil of all else.
  func lastDescriptor() -> CInt?

  /// Told when its events are watched, and before its first child is handed out.
  func eventsAreWatched() throws(Errno)

  /// Asks the kernel.
  ///
  /// - Parameter copies: How many copies of its own descriptor are thought to exist on its behalf: they are no
  ///   children.
  func children(_ counts: FDInfoFiles, besides copies: Int) throws(Errno) -> Children

  /// References to the memory in the whole system, this parent's own included; nil where the kernel
  /// does not count them.
  func referenceCount() throws(Errno) -> Int?

  /// A new child's descriptor.
  func openChild() throws(Errno) -> OwnedFD
}

extension Parent {
  package func lastDescriptor() -> CInt? { kind == .dmaBuf ? descriptor : nil }
}

/// A parent that is another one but for what it does itself.
package protocol WrappingParent: Parent {
  var inner: any Parent { get }
}

extension WrappingParent {
  package var identity: VMOIdentity { inner.identity }
  package var kind: VMO.Kind { inner.kind }
  package var descriptor: CInt { inner.descriptor }
  package var watchedDescriptor: CInt? { inner.watchedDescriptor }
  package func eventsAreWatched() throws(Errno) { try inner.eventsAreWatched() }
  package func children(
    _ counts: FDInfoFiles, besides copies: Int
  ) throws(Errno) -> Children { try inner.children(counts, besides: copies) }
  package func referenceCount() throws(Errno) -> Int? { try inner.referenceCount() }
  package func openChild() throws(Errno) -> OwnedFD { try inner.openChild() }
}

/// What is left of a buffer besides its parent.
package enum Children: Comparable {
  /// This is ZERO_CHILDREN: from now on no child can come to be, because the parent is the only thing
  /// that one could be made of.
  case none
  /// No more references than copies were made of the parent's descriptor. Whoever keeps those may have
  /// closed them without a word, so there may be children in their place.
  case copies
  case some
  /// It could not be asked, e.g. where no descriptor is left to read fdinfo with.
  case unknown
}
