internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging

/// The buffers that are not fully reclaimed: one record each, with its charge, who waits for its end, and whether the
/// manager keeps a copy of it.
final class ServedBuffers {
  private var table: [BufferKey: ServedBuffer] = [:]
  /// Deleted in this turn of the loop.
  private var deleted: [ServedBuffer] = []
  /// Those of which the manager is told to let go.
  private var dropping = 0
  private let shared: Shared
  private let heap: any LocalHeap
  private let descriptorsPerBuffer: Int
  private let reclaimer: Reclaimer
  private let store: ParentStore?
  private let connections: Connections

  init(
    _ shared: Shared, _ heap: any LocalHeap, _ reclaimer: Reclaimer, _ store: ParentStore?,
    _ connections: Connections
  ) {
    self.shared = shared
    self.heap = heap
    descriptorsPerBuffer = heap.descriptorsPerBuffer
    self.reclaimer = reclaimer
    self.store = store
    self.connections = connections
  }

  /// Whether (collection, index) is taken.
  func has(_ key: BufferKey) -> Bool { table[key] != nil }

  // MARK: Coming

  /// Puts a buffer on its user's account, whose key is free.
  ///
  /// - Returns: Nil where that was possible, or which quota is used up.
  func add(_ key: BufferKey, _ size: UInt64, for connection: Connection) -> StaticString? {
    if let refusal = shared.accounts.charge(size, to: connection) { return refusal }
    enter(ServedBuffer(key, size, of: connection.user, connection))
    return nil
  }

  private func enter(_ buffer: ServedBuffer) {
    table[buffer.key] = buffer
    shared.descriptors.add(descriptorsPerBuffer)
    assert(sumsAgree)
  }

  /// The allocation is done.
  func settle(_ key: BufferKey, _ new: NewBuffer) {
    guard let buffer = table[key] else { return }
    buffer.heap = new.heap
    if store != nil { buffer.storing = .kept }
    if !new.isReported {
      buffer.unreported = new.identity
      buffer.connection?.unreportedBuffers += 1
    }
    shared.metrics.allocated(buffer.size, heap: new.heap)
    shared.log.debug("buffer allocated", metadata: buffer.metadata)
  }

  /// Takes a buffer off the table and its user's account; also one that could not be made.
  @discardableResult func remove(_ key: BufferKey) -> ServedBuffer? {
    guard let buffer = table.removeValue(forKey: key) else { return nil }
    shared.accounts.refund(buffer)
    shared.descriptors.remove(descriptorsPerBuffer)
    assert(sumsAgree)
    return buffer
  }

  // MARK: Going

  /// Takes a handle back. A handle that tells no identity, as of a file system that fails, is no buffer's.
  ///
  /// The end, which may have come on return, is told by ``Message/reclaimed(_:)``.
  func delete(_ key: BufferKey, _ handle: consuming OwnedFD) -> LiveBuffers.Deletion {
    guard let identity = try? VMOIdentity(of: handle) else {
      return has(key) ? .wrongHandle(handle) : .unknown(handle)
    }
    switch heap.buffers.delete(key, handle, identity) {
    // The store still has a copy.
    case .unknown(let handle): return has(key) ? .wrongHandle(handle) : .unknown(handle)
    case .wrongHandle(let handle): return .wrongHandle(handle)
    case .begun: return .begun
    }
  }

  /// All of the buffer is gone, but for a copy of its parent in the store.
  func reclaimed(_ key: BufferKey) {
    guard let buffer = table[key] else { return }
    buffer.isGone = true
    switch buffer.storing {
    case .no: forget(key)
    case .kept: drop(buffer)
    case .dropping: break
    }
  }

  /// The store's copy alone may be left of it; the count does not tell it from a child.
  func withdraw(_ key: BufferKey) {
    if let buffer = table[key], buffer.storing == .kept { drop(buffer) }
  }

  private func drop(_ buffer: ServedBuffer) {
    buffer.storing = .dropping
    dropping += 1
    store?.drop(buffer.storedName)
  }

  /// The manager has heard that it should let go of its copy.
  func dropped(_ key: BufferKey) {
    guard let buffer = table[key] else { return }
    if buffer.storing == .dropping { dropping -= 1 }
    buffer.storing = .no
    if buffer.isGone {
      forget(key)
    } else if let identity = heap.buffers.identity(of: key) {
      reclaimer.recheck([identity])
    }
  }

  /// Whether no buffer is on its way out that waits for the manager alone.
  var isQuiet: Bool { dropping == 0 }

  /// After all of a buffer is gone.
  private func forget(_ key: BufferKey) {
    guard let buffer = remove(key) else { return }
    if buffer.hasDeadline { shared.deadlines.cancel(.deletion(key)) }
    shared.metrics.reclaimed(buffer.size, heap: buffer.heap)
    shared.log.debug("buffer reclaimed", metadata: buffer.metadata)
    if buffer.unreported != nil, let connection = buffer.connection {
      connection.unreportedBuffers -= 1
      connections.forgetIfGone(connection)
    }
    tellOwner(of: buffer)
    if let deletion = buffer.deletion.take() { answer(deletion) }
    for waiting in buffer.waiting { answer(waiting) }
  }

  /// Each end is told once: whoever waits for a deletion's answer hears it by that.
  private func tellOwner(of buffer: ServedBuffer) {
    guard let owner = buffer.connection, owner.watchesBuffers, owner.isOpen,
      buffer.deletion?.connection !== owner,
      !buffer.waiting.contains(where: { $0.connection === owner })
    else { return }
    connections.send(OnReclaimedEvent(key: buffer.key), to: owner)
  }

  // MARK: Answers that wait for a buffer's end

  // They go with their connection, and not with the buffer, which may be held for ever.

  func wait(for key: BufferKey, _ waiting: Waiting) {
    guard let buffer = table[key] else { return }
    waiting.connection.waits += 1
    if waiting.deletionBegan != nil, buffer.deletion == nil {
      buffer.deletion = waiting
      deleted.append(buffer)
    } else {
      buffer.waiting.append(waiting)
    }
  }

  private func answer(_ waiting: Waiting) {
    let connection = waiting.connection
    guard connection.isOpen else { return }
    connection.waits -= 1
    if let began = waiting.deletionBegan {
      shared.metrics.deleted(since: began)
      connections.send(DeleteVmoReply(), waiting.transaction, to: connection)
    } else {
      connections.send(
        AwaitReclaimedReply(.success(EmptyTable())), waiting.transaction, to: connection)
    }
  }

  /// At the end of a turn: those whose last handle came with DeleteVmo are gone by now.
  func setDeadlines() {
    while let buffer = deleted.popLast() {
      if buffer.deletion == nil { continue }
      buffer.hasDeadline = true
      shared.deadlines.set(.deletion(buffer.key), after: 5_000)
    }
  }

  // MARK: Clients that go

  func clientLeft(_ connection: Connection) {
    if connection.waits > 0 {
      for buffer in table.values {
        if buffer.deletion?.connection === connection { buffer.deletion = nil }
        buffer.waiting.removeAll { $0.connection === connection }
      }
      connection.waits = 0
    }
    recheckUnreported(of: connection)
    connections.forgetIfGone(connection)
  }

  /// Those that it may have held, whose last close the kernel does not report.
  func recheckUnreported(of connection: Connection) {
    if connection.unreportedBuffers == 0 { return }
    reclaimer.recheck(
      table.values.compactMap { $0.connection === connection ? $0.unreported : nil })
  }

  // MARK: Asking

  func recheck(_ identity: VMOIdentity) { reclaimer.recheck([identity]) }

  /// What a search for the holders of a deleted buffer needs; nil where it is gone.
  func held(_ key: BufferKey) -> (identity: VMOIdentity, metadata: Logger.Metadata)? {
    guard let buffer = table[key], let identity = heap.buffers.identity(of: key) else { return nil }
    return (identity, buffer.metadata)
  }

  var count: Int { table.count }

  /// Live buffers whose connection is gone.
  var orphanCount: Int { table.values.count { $0.isOrphan } }

  var status: [Status.Buffer] {
    table.values.map {
      ($0.key, $0.size, $0.heap, $0.user.id, $0.connection?.peer.process, $0.isOrphan)
    }
  }

  /// Whether the accounts say what the table says, as far as that is told soon.
  private var sumsAgree: Bool {
    if table.count > 64 { return true }
    var total = Usage()
    var users: [uid_t: Usage] = [:]
    var owners: [UInt64: (usage: Usage, connection: Connection)] = [:]
    for buffer in table.values {
      total.add(buffer.size)
      users[buffer.user.id, default: Usage()].add(buffer.size)
      guard let connection = buffer.connection else { continue }
      owners[connection.id, default: (Usage(), connection)].usage.add(buffer.size)
    }
    return total == shared.accounts.total
      && users == shared.accounts.users.mapValues(\.usage).filter { $0.value.buffers > 0 }
      && owners.values.allSatisfy { $0.usage == $0.connection.usage }
  }

  // MARK: The buffers of the server before this one

  /// Takes up what the server before this one left: info, deletions and quotas go on.
  func takeOver(_ buffers: [InheritedBuffer]) {
    guard !buffers.isEmpty else { return }
    var bytes: UInt64 = 0
    for buffer in buffers { bytes += takeOver(buffer) }
    shared.log.notice(
      "took over the previous server's buffers",
      metadata: ["buffers": "\(count)", "bytes": "\(bytes.asByteCount)"])
  }

  private func takeOver(_ inherited: InheritedBuffer) -> UInt64 {
    guard let descriptor = inherited.takeDescriptor() else { return 0 }
    let name = inherited.name
    let (key, mailbox) = (name.key, shared.mailbox)
    do throws(HeapError) {
      // Two of our own: this process's, and the manager's.
      let taken = try heap.buffers.takeOver(
        key, parent: descriptor, copies: 1, withdrawal: { mailbox.post(.onlyCopies(key)) },
        cleanup: [], admission: .standard
      ) { mailbox.post(.reclaimed(key)) }
      let bytes = taken.hasMemory ? taken.byteCount : 0
      let user = shared.accounts.takeOver(bytes, of: name.user)
      let buffer = ServedBuffer(key, bytes, of: user, nil)
      buffer.heap = name.heap
      if store != nil { buffer.storing = .kept }
      enter(buffer)
      shared.metrics.tookOver(bytes, heap: name.heap)
      return bytes
    } catch {
      shared.log.error(
        "a stored descriptor is unusable",
        metadata: ["name": "\(name.description)", "error": "\(error)"])
      // Of two under one name the manager would drop both.
      if error.code != .alreadyExists { store?.drop(name) }
      return 0
    }
  }
}
