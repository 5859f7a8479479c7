internal import LinuxHeaps
internal import Logging

/// The service manager's descriptor store (`FileDescriptorStoreMax=`, systemd.service(5)): it holds the
/// parents of live buffers while no server runs.
final class ParentStore: Sendable {
  private let manager: ServiceManager
  private let log: Logger

  init(_ manager: ServiceManager, log: Logger) {
    self.manager = manager
    self.log = log
  }

  func newSlot() -> Slot { Slot(self) }

  /// One buffer's place in the store.
  final class Slot: Sendable {
    private let store: ParentStore
    private let name = Guarded<String?>(nil)

    fileprivate init(_ store: ParentStore) { self.store = store }

    /// A parent that the store has already.
    func isKept(as name: StoredBufferName) { self.name.withLock { $0 = name.description } }

    /// Has the manager keep a copy of a new buffer's parent. The caller holds its only child.
    ///
    /// The manager does not say whether it did; of a dma-buf the kernel's count does, and a copy in the
    /// store must not be taken for a child. Only for now: systemd closes what it does not keep on another
    /// thread, after it was heard.
    func keep(_ buffers: LiveBuffers, _ identity: VMOIdentity, as name: StoredBufferName) {
      let manager = store.manager
      let text = name.description
      self.name.withLock { $0 = text }
      buffers.withParentDescriptor(identity) { manager.keep($0, as: text) }
      guard buffers.countsReferences(identity) else { return }
      if !manager.waitUntilHeard() {
        store.log.error("the service manager does not answer", metadata: ["buffer": "\(text)"])
      }
      buffers.settleCopies(identity, besides: 1) { [self] in drop() }
    }

    /// The buffer seems to have no child left. On return the manager has been told to let go of it too;
    /// of a dma-buf the count tells when it has.
    func drop() {
      let text: String? = name.withLock { name in
        defer { name = nil }
        return name
      }
      guard let text else { return }
      store.manager.drop(text)
      _ = store.manager.waitUntilHeard()
    }
  }
}
