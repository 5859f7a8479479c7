internal import CHeapPeer
internal import CLibrary
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import SystemPackage

/// The real things beside the model, by the model's numbers.
final class StressWorld {
  struct Buffer {
    let key: BufferKey
    let identity: VMOIdentity
    let record: StressRecord
  }

  let heap: any Heap
  /// What is known of the buffers of a heap in this process; nil of another process's, and of one that is no ``LocalHeap``.
  let live: LiveBuffers?
  let settings: SingleBufferSettings
  let collection: UInt64
  let events: StressEvents
  let devices: [Box<DRMDevice>]
  /// Where deletions wait for what the run does meanwhile.
  private let deletions: ThreadExecutor
  /// Those that were allocated and are not known to be gone.
  private var buffers: [Int: Buffer] = [:]
  /// Buffers that the heap had no room for: the model has them, the world does not.
  private(set) var refused: Set<Int> = []
  private(set) var allocated = 0
  /// All that the clean-up actions of all buffers did.
  let cleanups = Tally()

  private var handles: [Int: Box<VMO>] = [:]
  private var readable: [Int: Box<Mapping<ReadOnly>>] = [:]
  private var writable: [Int: Box<Mapping<ReadWrite>>] = [:]
  private var peers: [Int: Box<Peer>] = [:]
  /// Readable when the peer has ended.
  private var processes: [Int: Box<OwnedFD>] = [:]
  private var messages: [Int: Box<MessageSocket.Pair>] = [:]
  private var imports: [Int: Box<GEMHandle>] = [:]

  init(
    _ heap: any Heap, _ settings: SingleBufferSettings, collection: UInt64,
    devices: [Box<DRMDevice>], events: StressEvents, deletions: ThreadExecutor
  ) {
    self.heap = heap
    live = (heap as? any LocalHeap)?.buffers
    self.settings = settings
    self.collection = collection
    self.devices = devices
    self.events = events
    self.deletions = deletions
  }

  /// Lets go of everything, whatever the model says.
  func dropAll() {
    handles = [:]
    readable = [:]
    writable = [:]
    peers = [:]
    processes = [:]
    messages = [:]
    imports = [:]
  }

  /// Does what the action says; the model is as it was before.
  func perform(_ action: StressAction, _ model: StressModel) throws {
    switch action {
    case .allocate(let id, let index, let pages, let handle):
      try allocate(id, index: index, byteCount: pages * pageSize, handle: handle)
    case .duplicate(let id, let new):
      handles[new] = Box(try handle(id).value.duplicate())
    case .slice(let id, let offset, let pages, let new):
      handles[new] = Box(
        try handle(id).value.slice(offset: offset * pageSize, byteCount: pages * pageSize))
    case .adopt(let id, let new):
      let descriptor = try take(handle: id).releaseDescriptor()
      handles[new] = Box(try Self.adopt(descriptor, model.handle(id).part))
    case .close(let id): handles[id] = nil
    case .delete(let id): try delete(id, model.handle(id).part.buffer, model)

    case .map(let id, let new, true):
      writable[new] = Box(try handle(id).value.map())
    case .map(let id, let new, false):
      readable[new] = Box(try handle(id).value.mapReadOnly())
    case .unmap(let id):
      writable[id] = nil
      readable[id] = nil
    case .write(let id, let offset, let value):
      try writable[id]!.value.store(value, at: Int(offset))
    case .read(let id, let offset):
      let found = try byte(at: Int(offset), of: id)
      try expectEqual(
        found, model.byte(at: offset, of: model.mapping(id).part), "the byte that is read")

    case .importBuffer(let id, let device, let new):
      let (vmo, device) = (handle(id), devices[device])
      imports[new] = Box(
        try attempt("import a buffer into \(device.value.driver)", at: device.value.path) {
          () throws(Errno) in try device.value.importBuffer(vmo.value)
        })
    case .release(let id): imports[id] = nil

    case .startPeer(let id):
      let peer = try Peer()
      let process = try peer.process
      peers[id] = Box(peer)
      processes[id] = Box(OwnedFD(adopting: try call { CHeapPeer_pidfd_open(process) }))
    case .pass(let id, let number, let slot):
      try peer(number).value.hold(handle(id).value, in: slot)
    case .peerCloses(let id, let slot): try peer(id).value.closeDescriptor(in: slot)
    case .peerMaps(let id, let slot):
      let part = model.slot(slot, of: id).part
      try peer(id).value.map(in: slot, offset: part.byteOffset, byteCount: part.byteCount)
    case .peerUnmaps(let id, let slot):
      let part = model.slot(slot, of: id).part
      try peer(id).value.unmap(in: slot, byteCount: part.byteCount)
    case .peerWrites(let id, let slot, let offset, let value):
      try peer(id).value.write(value, in: slot, at: offset)
    case .peerReads(let id, let slot, let offset):
      let found = try peer(id).value.read(in: slot, at: offset)
      try expectEqual(
        found, model.byte(at: offset, of: model.slot(slot, of: id).part),
        "the byte that another process reads")
    case .fork(let id): try peer(id).value.forkHolder()
    case .killChild(let id): try peer(id).value.killHolder()
    case .kill(let id):
      try peer(id).value.kill()
      try end(id)
    case .end(let id): try end(id)

    case .send(let id, let message):
      let pair = try MessageSocket.Pair()
      try pair.near.send([0], passing: handle(id).value)
      messages[message] = Box(pair)
    case .receive(let id, let new):
      let pair = messages.removeValue(forKey: id)!
      let descriptor = try pair.value.far.receiveDescriptor()
      handles[new] = Box(try Self.adopt(descriptor, model.message(id).part))
    case .drop(let id): messages[id] = nil
    }
  }

  private func handle(_ id: Int) -> Box<VMO> { handles[id]! }

  private func byte(at offset: Int, of mapping: Int) throws(HeapError) -> UInt8 {
    if let mapping = writable[mapping] { return try mapping.value.byte(at: offset) }
    return try readable[mapping]!.value.byte(at: offset)
  }

  /// What a box has cannot be taken out of it: the handle ends as another one of the same part.
  private func take(handle id: Int) throws(HeapError) -> VMO {
    try handles.removeValue(forKey: id)!.value.duplicate()
  }

  /// A descriptor stands for the whole buffer; the part is what was meant.
  private static func adopt(
    _ descriptor: consuming OwnedFD, _ part: StressModel.Part
  ) throws(HeapError) -> VMO {
    try VMO(adopting: descriptor).slice(offset: part.byteOffset, byteCount: part.byteCount)
  }
}

// MARK: Coming and going

extension StressWorld {
  private func allocate(_ id: Int, index: UInt64, byteCount: UInt64, handle: Int) throws {
    let record = StressRecord(events)
    let key = BufferKey(bufferCollectionID: collection, bufferIndex: index)
    guard let vmo = try makeVmo(key, byteCount: byteCount, record) else {
      refused.insert(id)
      return
    }
    allocated += 1
    buffers[id] = Buffer(key: key, identity: vmo.identity, record: record)
    let isKnown =
      if let live {
        live.whenReclaimed(vmo.identity) { record.hear { $0.isReclaimed = true } }
      } else {
        (try? heap.info(of: vmo)) == key
      }
    let found = vmo.byteCount
    handles[handle] = Box(vmo)
    try expectEqual(found, byteCount, "the size of the vmo")
    try expect(isKnown, "the heap knows the buffer that it gave out")
  }

  /// Nil where the heap has no room.
  private func makeVmo(
    _ key: BufferKey, byteCount: UInt64, _ record: StressRecord
  ) throws -> VMO? {
    let (cleanups, isToldOtherwise) = (self.cleanups, live != nil)
    let cleanup: CleanupAction = {
      cleanups.add()
      record.hear { state in
        state.cleanups += 1
        if !isToldOtherwise { state.isReclaimed = true }
      }
    }
    var vmo: VMO?
    try events.wait(isTold: false, "the key of buffer \(key.bufferIndex), which is gone, is free") {
      do throws(HeapError) {
        vmo = try heap.allocateVmo(
          size: byteCount, settings: settings, bufferCollectionID: key.bufferCollectionID,
          bufferIndex: key.bufferIndex, cleanup: [cleanup])
      } catch {
        // Of a heap that tells no more than the protocol, the clean-up is the last that is heard, and a buffer has its key for a
        // moment longer.
        if error.code == .alreadyExists && live == nil { return false }
        guard error.code == .noMemory else { throw error }
      }
      return true
    }
    return vmo
  }

  private func delete(_ handle: Int, _ buffer: Int, _ model: StressModel) throws {
    let vmo = ReturnedVMO(try take(handle: handle))
    let known = buffers[buffer]!
    let record = known.record
    let (heap, key) = (heap, known.key)
    Task(executorPreference: deletions) {
      // The script has handles in this process outlive their buffer's deletion.
      await WaitingDeletion.$isExpected.withValue(true) {
        do throws(HeapError) {
          try await heap.deleteVmo(
            bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex,
            vmo: vmo.take()!)
          record.hear { $0.isDeletionOver = true }
        } catch {
          record.hear { $0.refusal = error }
        }
      }
    }
    let other = model.handles.first { $0.part.buffer == buffer && $0.id != handle }
    try events.wait(isTold: false, "the deletion begins") {
      if let refusal = record.heard.refusal { throw refusal }
      if let live { return live.key(of: known.identity) == nil }
      // Without a handle nobody can ask.
      return try other.map { try told(by: self.handle($0.id)) == nil } ?? vmo.isTaken
    }
  }

  private func peer(_ id: Int) -> Box<Peer> { peers[id]! }

  /// Hangs up, upon which a peer ends by itself.
  private func end(_ id: Int) throws {
    peers[id] = nil
    let process = processes.removeValue(forKey: id)!
    try events.wait(for: process.value, "peer \(id) ends")
  }
}

/// Something owned, among others of its kind.
final class Box<Value: ~Copyable> {
  let value: Value

  init(_ value: consuming Value) { self.value = value }
}

// MARK: What the model says of the world, asked of the world

extension StressWorld {
  /// A buffer that has holders lives, is known by its name, and has as many references as the model says.
  ///
  /// - Returns: Whether the kernel's count was compared.
  func expectAlive(_ id: Int, _ model: StressModel) throws -> Bool {
    guard !refused.contains(id) else { return false }
    let buffer = buffers[id]!
    let isDeleting = model.buffer(id).isDeleting
    let held = "while the model has \(model.references(to: id) - 1) references to it"
    let heard = buffer.record.heard
    try expectEqual(heard.cleanups, 0, "the clean-ups of buffer \(id) \(held)")
    try expect(!heard.isReclaimed, "buffer \(id) is not reclaimed \(held)")
    try expect(!heard.isDeletionOver, "the deletion of buffer \(id) has not returned \(held)")
    if let live {
      try expectEqual(
        live.keyUntilReclaimed(of: buffer.identity), buffer.key, "the name of buffer \(id) \(held)")
      try expectEqual(
        live.key(of: buffer.identity), isDeleting ? nil : buffer.key,
        "what the heap tells of buffer \(id), \(isDeleting ? "deleted" : "not deleted"), \(held)")
    }
    if let handle = model.handles.first(where: { $0.part.buffer == id }) {
      try expectEqual(
        try told(by: self.handle(handle.id)), isDeleting ? nil : buffer.key,
        "what a handle tells of its buffer")
    }
    return try expectCount(id, model)
  }

  /// Nil where the heap does not tell any more.
  private func told(by handle: Box<VMO>) throws(HeapError) -> BufferKey? {
    do throws(HeapError) { return try heap.info(of: handle.value) } catch {
      if error.code == .notFound { return nil }
      throw error
    }
  }

  private func expectCount(_ id: Int, _ model: StressModel) throws -> Bool {
    guard try count(id, model) != nil else { return false }
    let wanted = model.references(to: id)
    do {
      // What another process lets go of at its end, and who reads /proc meanwhile, shows for a moment.
      try events.wait(isTold: false, "") { try count(id, model) == wanted }
    } catch is Broken {
      try expectEqual(try count(id, model), wanted, "the kernel's count of buffer \(id)")
    }
    return true
  }

  /// Nil where the kernel has none, or nobody here can ask for it: once the deletion has begun the heap
  /// does not tell it, and handles may be elsewhere.
  private func count(_ id: Int, _ model: StressModel) throws(HeapError) -> Int? {
    // Another process may have references of its own.
    guard let live else { return nil }
    if model.buffer(id).isDeleting {
      guard let handle = model.handles.first(where: { $0.part.buffer == id }) else { return nil }
      return try self.handle(handle.id).value.referenceCount
    }
    return try live.referenceCount(of: buffers[id]!.key)
  }

  /// A buffer that lost its last holder is reclaimed, cleaned up once, and its deletion returns.
  func expectGone(_ gone: StressModel.Buffer) throws {
    guard !refused.contains(gone.id) else { return }
    let record = buffers[gone.id]!.record
    try events.wait("buffer \(gone.id), which nobody holds any more, is reclaimed") {
      record.heard.isReclaimed
    }
    try expectEqual(record.heard.cleanups, 1, "the clean-ups of buffer \(gone.id), which is gone")
    if gone.isDeleting {
      try events.wait("the deletion of buffer \(gone.id), which is gone, returns") {
        record.heard.isDeletionOver
      }
    }
    buffers[gone.id] = nil
  }
}

/// What a stress run waits for: clean-ups, buffers that are gone, deletions that returned.
final class StressEvents: Sendable {
  private let wakeUp: WakeUp
  /// It only ends a failure, so it is long enough for an emulated machine.
  let patience: Duration

  init(patience: Duration) throws(Errno) {
    self.patience = patience
    wakeUp = try WakeUp()
  }

  func signal() { wakeUp.signal() }

  /// Waits until `holds` does.
  ///
  /// - Parameter isTold: Whether a signal comes when it may hold; else it is asked again and again.
  func wait(
    isTold: Bool = true, _ claim: @autoclosure () -> String, _ holds: () throws -> Bool
  ) throws {
    if try holds() { return }
    let deadline = ContinuousClock.now + patience
    while ContinuousClock.now < deadline {
      let left = isTold ? max(.zero, deadline - .now) : .milliseconds(1)
      Self.poll(wakeUp.descriptor, for: left)
      // What it told is in what is asked next.
      wakeUp.clear()
      if try holds() { return }
    }
    throw Broken(description: "does not come true: \(claim())")
  }

  /// Waits until a descriptor is readable.
  func wait(for descriptor: borrowing OwnedFD, _ claim: @autoclosure () -> String) throws(Broken) {
    guard Self.poll(descriptor.rawValue, for: patience) else {
      throw Broken(description: "does not come true: \(claim())")
    }
  }

  @discardableResult
  private static func poll(_ descriptor: CInt, for time: Duration) -> Bool {
    let milliseconds = MonotonicTime.now.advanced(by: time).millisecondsFromNow
    var waited = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return unsafe CLibrary.poll(&waited, 1, milliseconds) > 0
  }
}

/// What was heard of one buffer.
final class StressRecord: Sendable {
  struct State {
    var cleanups = 0
    var isReclaimed = false
    var isDeletionBegun = false
    var isDeletionOver = false
    var refusal: HeapError?
  }

  private let state = Guarded(State())
  private let events: StressEvents

  init(_ events: StressEvents) { self.events = events }

  var heard: State { state.withLock { $0 } }

  func hear(_ change: @Sendable (inout State) -> Void) {
    state.withLock { change(&$0) }
    events.signal()
  }
}
