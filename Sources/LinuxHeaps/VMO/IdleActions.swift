/// Closes what is kept open from one buffer to the next, once no more buffers come: a process that has none left
/// has no file of theirs open either, and can be dumped by CRIU.
final class IdleActions: Sendable {
  private let actions = Guarded<[ObjectIdentifier: @Sendable () -> Void]>([:])

  /// - Parameter owner: Who removes the action again.
  func register(_ owner: ObjectIdentifier, _ action: @escaping @Sendable () -> Void) {
    actions.withLock { $0[owner] = action }
  }

  func remove(_ owner: ObjectIdentifier) { actions.withLock { $0[owner] = nil } }

  var isEmpty: Bool { actions.withLock { $0.isEmpty } }

  func run() { for action in actions.withLock({ Array($0.values) }) { action() } }
}
