internal import LinuxHeaps

/// One thing that a stress run does. Buffers, handles, mappings, peers, messages and imports have numbers,
/// each new one the next; offsets and lengths of ranges are in pages.
enum StressAction: Hashable {
  /// `index` is the buffer's within its collection: the smallest that is free.
  case allocate(buffer: Int, index: UInt64, pages: UInt64, handle: Int)
  case duplicate(handle: Int, new: Int)
  case slice(handle: Int, offset: UInt64, pages: UInt64, new: Int)
  /// The descriptor is given up to foreign code and taken over again.
  case adopt(handle: Int, new: Int)
  case close(handle: Int)
  /// Given back with this handle; what else holds the buffer keeps it.
  case delete(handle: Int)

  case map(handle: Int, new: Int, isWritable: Bool)
  case unmap(mapping: Int)
  /// `at` is in bytes from the mapping's start.
  case write(mapping: Int, at: UInt64, value: UInt8)
  case read(mapping: Int, at: UInt64)

  case startPeer(peer: Int)
  case pass(handle: Int, peer: Int, slot: UInt16)
  case peerCloses(peer: Int, slot: UInt16)
  case peerMaps(peer: Int, slot: UInt16)
  case peerUnmaps(peer: Int, slot: UInt16)
  case peerWrites(peer: Int, slot: UInt16, at: UInt64, value: UInt8)
  case peerReads(peer: Int, slot: UInt16, at: UInt64)
  /// A child that inherits all that the peer holds.
  case fork(peer: Int)
  case killChild(peer: Int)
  /// By SIGKILL.
  case kill(peer: Int)
  /// The peer ends by itself, with all that it holds.
  case end(peer: Int)

  /// A message that carries a descriptor and waits in a socket of its own.
  case send(handle: Int, message: Int)
  case receive(message: Int, new: Int)
  /// The socket is closed with the message in it.
  case drop(message: Int)

  /// `device` is the number of one that the run was given.
  case importBuffer(handle: Int, device: Int, new: Int)
  case release(imported: Int)

  /// What a report counts it as.
  var kind: StressReport.Kind {
    switch self {
    case .allocate: .allocate
    case .duplicate: .duplicate
    case .slice: .slice
    case .adopt: .adopt
    case .close: .close
    case .delete: .delete
    case .map, .peerMaps: .map
    case .unmap, .peerUnmaps: .unmap
    case .write, .peerWrites: .write
    case .read, .peerReads: .read
    case .startPeer: .start
    case .pass: .pass
    case .peerCloses: .close
    case .fork: .fork
    case .kill, .killChild: .kill
    case .end: .end
    case .send: .send
    case .receive: .receive
    case .drop: .drop
    case .importBuffer: .import
    case .release: .release
    }
  }
}

extension StressAction: CustomStringConvertible {
  /// In the words of a report, and what a run's digest is made of.
  var description: String {
    switch self {
    case .allocate(let buffer, let index, let pages, let handle):
      "allocate buffer \(buffer) of \(pages) pages with index \(index): handle \(handle)"
    case .duplicate(let handle, let new): "duplicate handle \(handle): handle \(new)"
    case .slice(let handle, let offset, let pages, let new):
      "slice \(pages) pages at \(offset) of handle \(handle): handle \(new)"
    case .adopt(let handle, let new): "give up handle \(handle) and adopt it: handle \(new)"
    case .close(let handle): "close handle \(handle)"
    case .delete(let handle): "delete with handle \(handle)"
    case .map(let handle, let new, let isWritable):
      "map handle \(handle) to \(isWritable ? "write" : "read"): mapping \(new)"
    case .unmap(let mapping): "unmap mapping \(mapping)"
    case .write(let mapping, let offset, let value):
      "write \(value) at \(offset) of mapping \(mapping)"
    case .read(let mapping, let offset): "read at \(offset) of mapping \(mapping)"
    case .startPeer(let peer): "start peer \(peer)"
    case .pass(let handle, let peer, let slot):
      "pass handle \(handle) to slot \(slot) of peer \(peer)"
    case .peerCloses(let peer, let slot): "peer \(peer) closes slot \(slot)"
    case .peerMaps(let peer, let slot): "peer \(peer) maps slot \(slot)"
    case .peerUnmaps(let peer, let slot): "peer \(peer) unmaps slot \(slot)"
    case .peerWrites(let peer, let slot, let offset, let value):
      "peer \(peer) writes \(value) at \(offset) of slot \(slot)"
    case .peerReads(let peer, let slot, let offset):
      "peer \(peer) reads at \(offset) of slot \(slot)"
    case .fork(let peer): "peer \(peer) forks"
    case .killChild(let peer): "kill the child of peer \(peer)"
    case .kill(let peer): "kill peer \(peer)"
    case .end(let peer): "end peer \(peer)"
    case .send(let handle, let message): "send handle \(handle) in message \(message)"
    case .receive(let message, let new): "receive message \(message): handle \(new)"
    case .drop(let message): "drop message \(message)"
    case .importBuffer(let handle, let device, let new):
      "import handle \(handle) into device \(device): import \(new)"
    case .release(let imported): "release import \(imported)"
    }
  }
}

/// What must be alive, and who holds it: a plain value, which follows from the actions alone.
struct StressModel {
  struct Buffer {
    let id: Int
    let index: UInt64
    let pages: UInt64
    /// The bytes that were written, by their offset; all others are 0.
    var bytes: [UInt64: UInt8] = [:]
    var isDeleting = false

    var byteCount: UInt64 { pages * pageSize }
  }

  /// A range of a buffer.
  struct Part: Hashable {
    let buffer: Int
    let offset: UInt64
    let pages: UInt64

    var byteOffset: UInt64 { offset * pageSize }
    var byteCount: UInt64 { pages * pageSize }
  }

  struct Handle {
    let id: Int
    let part: Part
  }

  struct Mapping {
    let id: Int
    let part: Part
    let isWritable: Bool
  }

  struct Slot {
    let number: UInt16
    let part: Part
    var hasDescriptor = true
    var isMapped = false

    var references: Int { (hasDescriptor ? 1 : 0) + (isMapped ? 1 : 0) }
  }

  struct Peer {
    let id: Int
    var slots: [Slot] = []
    /// What its child inherited; nil without a child.
    var child: [Slot]?
  }

  struct Message {
    let id: Int
    let part: Part
  }

  struct Import {
    let id: Int
    let buffer: Int
    let device: Int
  }

  // In arrays, so that a draw among them depends on nothing but the actions.
  private(set) var buffers: [Buffer] = []
  private(set) var handles: [Handle] = []
  private(set) var mappings: [Mapping] = []
  private(set) var peers: [Peer] = []
  private(set) var messages: [Message] = []
  private(set) var imports: [Import] = []
  /// The next number of whatever comes new.
  private(set) var next = 0

  var liveBytes: UInt64 { buffers.reduce(0) { $0 + $1.byteCount } }

  // MARK: Asking

  func buffer(_ id: Int) -> Buffer { buffers.first { $0.id == id }! }
  func handle(_ id: Int) -> Handle { handles.first { $0.id == id }! }
  func mapping(_ id: Int) -> Mapping { mappings.first { $0.id == id }! }
  func peer(_ id: Int) -> Peer { peers.first { $0.id == id }! }
  func message(_ id: Int) -> Message { messages.first { $0.id == id }! }
  func slot(_ number: UInt16, of peer: Int) -> Slot {
    self.peer(peer).slots.first { $0.number == number }!
  }

  /// The kernel's count for a dma-buf, the heap's own reference included.
  ///
  /// A mapping of this process has a descriptor for syncing. A PRIME import takes three references, the
  /// first of one buffer in one open file of a device; further ones share its handle.
  func references(to buffer: Int) -> Int {
    let own = handles.count { $0.part.buffer == buffer }
    let mapped = 2 * mappings.count { $0.part.buffer == buffer }
    let elsewhere = peers.flatMap { $0.slots + ($0.child ?? []) }
      .reduce(0) { $0 + ($1.part.buffer == buffer ? $1.references : 0) }
    let inFlight = messages.count { $0.part.buffer == buffer }
    let devices = Set(imports.filter { $0.buffer == buffer }.map(\.device))
    return 1 + own + mapped + elsewhere + inFlight + 3 * devices.count
  }

  /// The one buffer that an action is about; nil for one that makes a buffer, or is about a process.
  func buffer(of action: StressAction) -> Int? {
    switch action {
    case .allocate, .startPeer, .fork, .killChild, .kill, .end: nil
    case .duplicate(let id, _), .slice(let id, _, _, _), .adopt(let id, _), .close(let id),
      .delete(let id), .map(let id, _, _), .pass(let id, _, _), .send(let id, _),
      .importBuffer(let id, _, _):
      handle(id).part.buffer
    case .unmap(let id), .write(let id, _, _), .read(let id, _): mapping(id).part.buffer
    case .peerCloses(let id, let number), .peerMaps(let id, let number),
      .peerUnmaps(let id, let number), .peerWrites(let id, let number, _, _),
      .peerReads(let id, let number, _):
      slot(number, of: id).part.buffer
    case .receive(let id, _), .drop(let id): message(id).part.buffer
    case .release(let id): imports.first { $0.id == id }!.buffer
    }
  }

  /// The byte that must be at an offset of a part.
  func byte(at offset: UInt64, of part: Part) -> UInt8 {
    buffer(part.buffer).bytes[part.byteOffset + offset] ?? 0
  }

  // MARK: Acting

  struct Effect {
    /// Buffers whose holders changed and that live.
    var touched: [Int] = []
    /// Buffers that lost their last holder.
    var gone: [Buffer] = []
  }

  mutating func apply(_ action: StressAction) -> Effect {
    var touched: Set<Int> = []
    if let buffer = buffer(of: action) { touched.insert(buffer) }
    switch action {
    case .kill(let id), .end(let id), .fork(let id), .killChild(let id):
      touched = Set((peer(id).slots + (peer(id).child ?? [])).map(\.part.buffer))
    case .allocate(let id, _, _, _): touched = [id]
    default: break
    }
    change(by: action)
    var effect = Effect()
    for id in touched.sorted() {
      if references(to: id) > 1 {
        effect.touched.append(id)
      } else {
        effect.gone.append(buffer(id))
        buffers.removeAll { $0.id == id }
      }
    }
    return effect
  }

  private mutating func change(by action: StressAction) {
    switch action {
    case .allocate(let id, let index, let pages, let handle):
      buffers.append(Buffer(id: id, index: index, pages: pages))
      add(handle, Part(buffer: id, offset: 0, pages: pages))
    case .duplicate(let id, let new): add(new, handle(id).part)
    case .slice(let id, let offset, let pages, let new):
      let whole = handle(id).part
      add(new, Part(buffer: whole.buffer, offset: whole.offset + offset, pages: pages))
    case .adopt(let id, let new): add(new, take(handle: id))
    case .close(let id): _ = take(handle: id)
    case .delete(let id):
      let buffer = take(handle: id).buffer
      change(buffer) { $0.isDeleting = true }

    case .map(let id, let new, let isWritable):
      mappings.append(Mapping(id: number(new), part: handle(id).part, isWritable: isWritable))
    case .unmap(let id): mappings.removeAll { $0.id == id }
    case .write(let id, let offset, let value): write(value, at: offset, of: mapping(id).part)
    case .read, .peerReads: break

    case .startPeer(let id): peers.append(Peer(id: number(id)))
    case .pass(let id, let peer, let number):
      let slot = Slot(number: number, part: handle(id).part)
      change(peer: peer) { $0.slots.append(slot) }
    case .peerCloses(let peer, let number):
      change(peer, number) { $0.hasDescriptor = false }
    case .peerMaps(let peer, let number): change(peer, number) { $0.isMapped = true }
    case .peerUnmaps(let peer, let number): change(peer, number) { $0.isMapped = false }
    case .peerWrites(let peer, let number, let offset, let value):
      write(value, at: offset, of: slot(number, of: peer).part)
    case .fork(let id): change(peer: id) { $0.child = $0.slots }
    case .killChild(let id): change(peer: id) { $0.child = nil }
    case .kill(let id), .end(let id): peers.removeAll { $0.id == id }

    case .send(let id, let message):
      messages.append(Message(id: number(message), part: handle(id).part))
    case .receive(let id, let new):
      let part = message(id).part
      messages.removeAll { $0.id == id }
      add(new, part)
    case .drop(let id): messages.removeAll { $0.id == id }

    case .importBuffer(let id, let device, let new):
      let buffer = handle(id).part.buffer
      imports.append(Import(id: number(new), buffer: buffer, device: device))
    case .release(let id): imports.removeAll { $0.id == id }
    }
  }

  private mutating func number(_ id: Int) -> Int {
    next = max(next, id + 1)
    return id
  }

  private mutating func add(_ handle: Int, _ part: Part) {
    handles.append(Handle(id: number(handle), part: part))
  }

  private mutating func take(handle id: Int) -> Part {
    let part = handle(id).part
    handles.removeAll { $0.id == id }
    return part
  }

  private mutating func write(_ value: UInt8, at offset: UInt64, of part: Part) {
    change(part.buffer) { $0.bytes[part.byteOffset + offset] = value }
  }

  private mutating func change(_ buffer: Int, _ body: (inout Buffer) -> Void) {
    body(&buffers[buffers.firstIndex { $0.id == buffer }!])
  }

  private mutating func change(peer id: Int, _ body: (inout Peer) -> Void) {
    body(&peers[peers.firstIndex { $0.id == id }!])
  }

  private mutating func change(_ peer: Int, _ number: UInt16, _ body: (inout Slot) -> Void) {
    change(peer: peer) { peer in
      body(&peer.slots[peer.slots.firstIndex { $0.number == number }!])
      // An empty slot is free for another.
      peer.slots.removeAll { $0.references == 0 }
    }
  }
}
