internal import Glibc
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

/// What a parent is called in the service manager's store: all that the next server has to know of it.
///
/// `b COLLECTION.INDEX USER HEAP`, the numbers in base 36: at most 38 bytes and the heap's name, which
/// is left out where it does not fit or is not ASCII.
///
/// The manager hands over all names in one environment variable, which the kernel limits to 128 KiB
/// (execve(2)); beyond that the service cannot start, and the manager drops the store. Clients choose the
/// numbers. At this length the unit's 2048 fit.
struct StoredBufferName: Hashable, Sendable {
  let key: BufferKey
  let user: uid_t
  let heap: String

  static let longest = 62

  var description: String {
    let start =
      "b \(String(key.bufferCollectionID, radix: 36)).\(String(key.bufferIndex, radix: 36))"
      + " \(String(user, radix: 36)) "
    let isPlain = heap.utf8.allSatisfy { (0x20...0x7e).contains($0) && $0 != UInt8(ascii: ":") }
    return isPlain && start.utf8.count + heap.utf8.count <= Self.longest ? start + heap : start
  }

  init(key: BufferKey, user: uid_t, heap: String) {
    self.key = key
    self.user = user
    self.heap = heap
  }

  /// Nil for a name in another format.
  init?(parsing text: String) {
    let parts = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "b",
      let key = BufferKey(parsing: "lh:\(parts[1])"), let user = uid_t(parts[2], radix: 36)
    else { return nil }
    self.init(key: key, user: user, heap: String(parts[3]))
    // One buffer, one spelling: by another the manager could not be told to let go of it.
    guard description == text else { return nil }
  }
}
