internal import CHeapPeer
internal import Glibc
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

  let heap: any LocalHeap
  let settings: SingleBufferSettings
  let collection: UInt64
  let events: StressEvents
  let devices: [Box<DRMDevice>]
  /// Those that were allocated and are not known to be gone.
  private(set) var buffers: [Int: Buffer] = [:]
  /// Buffers that the heap had no room for: the model has them, the world does not.
  private(set) var refused: Set<Int> = []
  private(set) var allocated = 0
  /// All that the clean-up actions of all buffers did.
  let cleanups = Tally()

  private(set) var handles: [Int: StressHandle] = [:]
  private var readable: [Int: Box<Mapping<ReadOnly>>] = [:]
  private var writable: [Int: Box<Mapping<ReadWrite>>] = [:]
  private var peers: [Int: Box<Peer>] = [:]
  /// Readable when the peer has ended.
  private var processes: [Int: Box<OwnedFD>] = [:]
  private var messages: [Int: Box<MessageSocket.Pair>] = [:]
  private var imports: [Int: Box<GEMHandle>] = [:]

  init(
    _ heap: any LocalHeap, _ settings: SingleBufferSettings, collection: UInt64,
    devices: [Box<DRMDevice>], events: StressEvents
  ) {
    self.heap = heap
    self.settings = settings
    self.collection = collection
    self.devices = devices
    self.events = events
  }

  func forget(_ buffer: Int) { buffers[buffer] = nil }

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
      handles[new] = StressHandle(
        try handle(id).with { (vmo) throws(HeapError) in try vmo.duplicate() })
    case .slice(let id, let offset, let pages, let new):
      handles[new] = StressHandle(
        try handle(id).with { (vmo) throws(HeapError) in
          try vmo.slice(offset: offset * pageSize, byteCount: pages * pageSize)
        })
    case .adopt(let id, let new):
      let descriptor = take(handle: id).releaseDescriptor()
      handles[new] = StressHandle(try Self.adopt(descriptor, model.handle(id).part))
    case .close(let id): _ = take(handle: id)
    case .delete(let id): try delete(id, model.handle(id).part.buffer)

    case .map(let id, let new, true):
      writable[new] = Box(try handle(id).with { (vmo) throws(HeapError) in try vmo.map() })
    case .map(let id, let new, false):
      readable[new] = Box(try handle(id).with { (vmo) throws(HeapError) in try vmo.mapReadOnly() })
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
      let device = devices[device]
      imports[new] = Box(
        try handle(id).with { (vmo) throws(HeapError) in try Self.importBuffer(vmo, device) })
    case .release(let id): imports[id] = nil
    default: try performElsewhere(action, model)
    }
  }

  private func handle(_ id: Int) -> StressHandle { handles[id]! }

  private func byte(at offset: Int, of mapping: Int) throws(HeapError) -> UInt8 {
    if let mapping = writable[mapping] { return try mapping.value.byte(at: offset) }
    return try readable[mapping]!.value.byte(at: offset)
  }

  private func take(handle id: Int) -> VMO { handles.removeValue(forKey: id)!.take() }

  private static func importBuffer(
    _ vmo: borrowing VMO, _ device: Box<DRMDevice>
  ) throws(HeapError) -> GEMHandle {
    do throws(Errno) { return try device.value.importBuffer(vmo) } catch {
      throw HeapError(
        error, "import a buffer into \(device.value.driver)", at: device.value.path)
    }
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
    let isKnown = heap.buffers.whenReclaimed(vmo.identity) {
      record.hear { $0.isReclaimed = true }
    }
    let found = vmo.byteCount
    handles[handle] = StressHandle(vmo)
    try expectEqual(found, byteCount, "the size of the vmo")
    try expect(isKnown, "the heap knows the buffer that it gave out")
  }

  /// Nil where the heap has no room.
  private func makeVmo(
    _ key: BufferKey, byteCount: UInt64, _ record: StressRecord
  ) throws(HeapError) -> VMO? {
    let cleanups = self.cleanups
    let cleanup: CleanupAction = {
      cleanups.add()
      record.hear { $0.cleanups += 1 }
    }
    do throws(HeapError) {
      return try heap.allocateVmo(
        size: byteCount, settings: settings, bufferCollectionID: key.bufferCollectionID,
        bufferIndex: key.bufferIndex, cleanup: [cleanup])
    } catch {
      if error.code == .noMemory { return nil }
      throw error
    }
  }

  private func delete(_ handle: Int, _ buffer: Int) throws {
    let vmo = ReturnedVMO(take(handle: handle))
    let known = buffers[buffer]!
    let record = known.record
    let (heap, key) = (heap, known.key)
    Task {
      do throws(HeapError) {
        try await heap.deleteVmo(
          bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex,
          vmo: vmo.take()!)
        record.hear { $0.isDeletionOver = true }
      } catch {
        record.hear { $0.refusal = error }
      }
    }
    try events.wait(isTold: false, "the deletion begins") {
      if let refusal = record.heard.refusal { throw refusal }
      return heap.buffers.key(of: known.identity) == nil
    }
  }
}

// MARK: Other processes

extension StressWorld {
  private func performElsewhere(_ action: StressAction, _ model: StressModel) throws {
    switch action {
    case .startPeer(let id):
      let peer = try Peer()
      let process = try peer.process
      peers[id] = Box(peer)
      processes[id] = Box(OwnedFD(adopting: try call { CHeapPeer_pidfd_open(process) }))
    case .pass(let id, let number, let slot):
      let peer = peer(number)
      try handle(id).with { (vmo) throws(Errno) in try peer.value.hold(vmo, in: slot) }
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
      try handle(id).with { (vmo) throws(Errno) in try pair.near.send([0], passing: vmo) }
      messages[message] = Box(pair)
    case .receive(let id, let new):
      let pair = messages.removeValue(forKey: id)!
      guard var message = try pair.value.far.receive(), let descriptor = message.descriptors.next()
      else { throw Broken(description: "the descriptor does not arrive") }
      handles[new] = StressHandle(try Self.adopt(descriptor, model.message(id).part))
    case .drop(let id): messages[id] = nil
    default: preconditionFailure("not done elsewhere: \(action)")
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

/// A handle of this process, among others.
final class StressHandle {
  private var vmo: VMO?

  init(_ vmo: consuming VMO) { self.vmo = .some(vmo) }

  /// Once; it is not lent after that.
  func take() -> VMO { vmo.take()! }

  func with<Result: ~Copyable, Failure: Error>(
    _ body: (borrowing VMO) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    switch vmo {
    case .some(let vmo): return try body(vmo)
    case .none: preconditionFailure("taken already")
    }
  }
}

/// Something owned, among others of its kind.
final class Box<Value: ~Copyable> {
  let value: Value

  init(_ value: consuming Value) { self.value = value }
}
