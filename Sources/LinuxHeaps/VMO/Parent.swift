internal import SystemPackage

/// The side of a buffer that its heap keeps: it holds the memory, and can tell whether any child of
/// it is left, wherever that is.
protocol Parent: AnyObject, Sendable {
  /// What the children of this parent have in common with it.
  var identity: VMOIdentity { get }

  /// Whether the kernel tells of the last child's end.
  var childEvents: ChildEvents { get }

  /// Told when its events are watched, and before its first child is handed out.
  func eventsAreWatched() throws(Errno)

  /// Asks the kernel. False is ZERO_CHILDREN: from then on no child can come to be, because the
  /// parent is the only thing that one could be made of.
  func hasChildren() throws(Errno) -> Bool

  /// References to the memory in the whole system, this parent's own included; nil where the kernel
  /// does not count them.
  func referenceCount() throws(Errno) -> Int?

  /// Lends the descriptor, e.g. for a copy of it; not called once the parent is closed.
  func withDescriptor(_ body: (CInt) -> Void)

  /// How many copies of its own descriptor exist on its behalf: they are no children.
  ///
  /// Told before any child has left this process, and when a copy goes.
  func setCopies(_ count: Int)

  /// Lets the memory go. Called once, after the last ``hasChildren()``.
  func close()
}

extension Parent {
  var reportsCloses: Bool { if case .closeOf = childEvents { true } else { false } }
}

/// How the end of a last child in another process is noticed.
enum ChildEvents {
  /// Not at all: the reference count has to be read again.
  case none
  /// inotify reports the close of an open file of this inode, by this descriptor's path.
  case closeOf(descriptor: CInt)
}
