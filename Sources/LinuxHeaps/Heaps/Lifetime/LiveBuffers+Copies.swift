// Copies of parents' descriptors that are kept elsewhere, and are no children.

extension LiveBuffers {
  private func parent(_ identity: VMOIdentity) -> (any Parent)? {
    LocalBuffers.shared[identity]?.parents.first { $0.identity == identity }
  }

  /// Lends a live buffer's own descriptor, e.g. to send a copy of it.
  package func withParentDescriptor(_ identity: VMOIdentity, _ body: (CInt) -> Void) {
    parent(identity)?.withDescriptor(body)
  }

  /// Whether a copy of its parent's descriptor looks like a child (a dma-buf's) or not (a memfd's).
  package func countsReferences(_ identity: VMOIdentity) -> Bool {
    (try? parent(identity)?.referenceCount()) != nil
  }

  /// Takes every reference besides the parent and so many children for a copy.
  ///
  /// - Parameters:
  ///   - children: All there are; the caller has them.
  ///   - withdrawal: Has the copies closed. Called once, when nothing but them seems to be left.
  package func settleCopies(
    _ identity: VMOIdentity, besides children: Int, withdrawal: @escaping CleanupAction
  ) {
    guard let parent = parent(identity), let count = try? parent.referenceCount() else { return }
    LocalBuffers.shared[identity]?.setWithdrawal(withdrawal)
    parent.setCopies(max(0, count - 1 - children))
  }
}
