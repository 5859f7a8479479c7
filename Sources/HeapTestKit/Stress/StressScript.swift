internal import CHeapPeer
internal import LinuxHeaps

/// Draws what a run does next. What it draws follows from the seed, the heap and the model alone, so each
/// run is the beginning of every longer one.
struct StressScript {
  /// What a heap and its machine have, as far as it decides what can be done.
  struct Traits {
    /// Whether the processor reaches the memory.
    var isMappable = true
    /// Devices that import it.
    var devices = 0
    /// The most bytes that are live at once.
    var limit: UInt64 = 64 << 20
  }

  fileprivate enum Limit {
    static let buffers = 24
    static let handles = 48
    static let mappings = 24
    static let peers = 4
    static let messages = 8
    static let imports = 8
    /// Pages of a buffer, as a power of 2.
    static let sizes: UInt64 = 10
  }

  private enum Draw {
    case allocate, duplicate, slice, adopt, close, delete, map, unmap, write, read
    case startPeer, pass, peerCloses, peerMaps, peerUnmaps, peerWrites, peerReads
    case fork, killChild, kill, end, send, receive, drop, importBuffer, release
  }

  /// How often each is drawn: a little more comes than goes, and the limits hold it.
  private static let weights: [(Draw, Int)] = [
    (.allocate, 10), (.duplicate, 3), (.slice, 6), (.adopt, 3), (.close, 12), (.delete, 5),
    (.map, 8), (.unmap, 7), (.write, 8), (.read, 10), (.startPeer, 4), (.pass, 9),
    (.peerCloses, 6), (.peerMaps, 7), (.peerUnmaps, 5), (.peerWrites, 5), (.peerReads, 7),
    (.fork, 2), (.killChild, 1), (.kill, 2), (.end, 1), (.send, 5), (.receive, 3), (.drop, 2),
    (.importBuffer, 5), (.release, 4),
  ]
  private static let sum = weights.reduce(0) { $0 + $1.1 }

  private let traits: Traits
  private var random: SeededGenerator

  init(seed: UInt64, heap: String, _ traits: Traits) {
    self.traits = traits
    random = SeededGenerator(seed, for: "stress", heap)
  }

  mutating func next(_ model: StressModel) -> StressAction {
    while true {
      var number = Int(below(UInt64(Self.sum)))
      let draw = Self.weights.first { _, weight in
        number -= weight
        return number < 0
      }!.0
      if let action = action(draw, model) { return action }
    }
  }

  /// Whether a change is told to the reclaimer, as a program does that saw a peer hang up, or is left for it
  /// to find out.
  mutating func isTold() -> Bool { below(8) != 0 }

  // The standard library's own way from random bits to a number may change.
  private mutating func below(_ end: UInt64) -> UInt64 { random.next() % end }

  private mutating func any<Element>(of elements: [Element]) -> Element? {
    elements.isEmpty ? nil : elements[Int(below(UInt64(elements.count)))]
  }

  /// Nil for what cannot be done now.
  private mutating func action(_ draw: Draw, _ model: StressModel) -> StressAction? {
    switch draw {
    case .allocate: allocate(model)
    case .duplicate: model.hasRoom ? newHandle(model) { .duplicate(handle: $0, new: $1) } : nil
    case .slice: model.hasRoom ? slice(model) : nil
    case .adopt: newHandle(model) { .adopt(handle: $0, new: $1) }
    case .close: any(of: model.handles).map { .close(handle: $0.id) }
    case .delete: delete(model)
    case .map: map(model)
    case .unmap: any(of: model.mappings).map { .unmap(mapping: $0.id) }
    case .write:
      any(of: model.mappings.filter(\.isWritable)).map {
        .write(mapping: $0.id, at: below($0.part.byteCount), value: value())
      }
    case .read:
      any(of: model.mappings).map { .read(mapping: $0.id, at: place(in: $0.part, model)) }
    case .startPeer:
      model.peers.count < Limit.peers ? .startPeer(peer: model.next) : nil
    case .pass: pass(model)
    case .peerCloses, .peerMaps, .peerUnmaps, .peerWrites, .peerReads: peerAction(draw, model)
    case .fork:
      any(of: model.peers.filter { $0.child == nil && !$0.slots.isEmpty }).map {
        .fork(peer: $0.id)
      }
    case .killChild:
      any(of: model.peers.filter { $0.child != nil }).map { .killChild(peer: $0.id) }
    case .kill: any(of: model.peers).map { .kill(peer: $0.id) }
    case .end: any(of: model.peers).map { .end(peer: $0.id) }
    case .send:
      model.messages.count < Limit.messages
        ? newHandle(model) { .send(handle: $0, message: $1) } : nil
    case .receive:
      model.hasRoom
        ? any(of: model.messages).map { .receive(message: $0.id, new: model.next) } : nil
    case .drop: any(of: model.messages).map { .drop(message: $0.id) }
    case .importBuffer: importBuffer(model)
    case .release: any(of: model.imports).map { .release(imported: $0.id) }
    }
  }

  private mutating func newHandle(
    _ model: StressModel, _ action: (_ handle: Int, _ new: Int) -> StressAction
  ) -> StressAction? {
    any(of: model.handles).map { action($0.id, model.next) }
  }

  private mutating func allocate(_ model: StressModel) -> StressAction? {
    guard model.buffers.count < Limit.buffers, model.hasRoom else { return nil }
    // Each power of 2 is as likely as the others.
    let least: UInt64 = 1 << below(Limit.sizes + 1)
    let pages = min(least + below(least), 1 << Limit.sizes)
    guard pages * pageSize + model.liveBytes <= traits.limit else { return nil }
    let taken = Set(model.buffers.map(\.index))
    let index = (0...UInt64(Limit.buffers)).first { !taken.contains($0) }!
    return .allocate(
      buffer: model.next, index: index, pages: pages, handle: model.next + 1)
  }

  private mutating func slice(_ model: StressModel) -> StressAction? {
    guard let handle = any(of: model.handles) else { return nil }
    let offset = below(handle.part.pages)
    let pages = 1 + below(handle.part.pages - offset)
    return .slice(handle: handle.id, offset: offset, pages: pages, new: model.next)
  }

  private mutating func delete(_ model: StressModel) -> StressAction? {
    let deletable = model.handles.filter { !model.buffer($0.part.buffer).isDeleting }
    return any(of: deletable).map { .delete(handle: $0.id) }
  }

  private mutating func map(_ model: StressModel) -> StressAction? {
    guard traits.isMappable, model.mappings.count < Limit.mappings else { return nil }
    return any(of: model.handles).map {
      .map(handle: $0.id, new: model.next, isWritable: below(4) != 0)
    }
  }

  private mutating func pass(_ model: StressModel) -> StressAction? {
    guard let peer = any(of: model.peers), let handle = any(of: model.handles) else { return nil }
    let taken = Set(peer.slots.map(\.number))
    let free = (0..<UInt16(CHeapPeer_SLOTS)).first { !taken.contains($0) }
    return free.map { .pass(handle: handle.id, peer: peer.id, slot: $0) }
  }

  private mutating func peerAction(_ draw: Draw, _ model: StressModel) -> StressAction? {
    guard let peer = any(of: model.peers) else { return nil }
    switch draw {
    case .peerCloses:
      return any(of: peer.slots.filter(\.hasDescriptor)).map {
        .peerCloses(peer: peer.id, slot: $0.number)
      }
    case .peerMaps:
      guard traits.isMappable else { return nil }
      return any(of: peer.slots.filter { $0.hasDescriptor && !$0.isMapped }).map {
        .peerMaps(peer: peer.id, slot: $0.number)
      }
    default: break
    }
    guard let slot = any(of: peer.slots.filter(\.isMapped)) else { return nil }
    switch draw {
    case .peerUnmaps: return .peerUnmaps(peer: peer.id, slot: slot.number)
    case .peerWrites:
      return .peerWrites(
        peer: peer.id, slot: slot.number, at: below(slot.part.byteCount), value: value())
    default:
      return .peerReads(peer: peer.id, slot: slot.number, at: place(in: slot.part, model))
    }
  }

  private mutating func importBuffer(_ model: StressModel) -> StressAction? {
    guard traits.devices > 0, model.imports.count < Limit.imports else { return nil }
    return any(of: model.handles).map {
      .importBuffer(handle: $0.id, device: Int(below(UInt64(traits.devices))), new: model.next)
    }
  }

  private mutating func value() -> UInt8 { UInt8(truncatingIfNeeded: 1 + below(255)) }

  /// Mostly where something was written, else anywhere.
  private mutating func place(
    in part: StressModel.Part, _ model: StressModel
  ) -> UInt64 {
    let range = part.byteOffset..<part.byteOffset + part.byteCount
    let written = model.buffer(part.buffer).bytes.keys.filter(range.contains).sorted()
    if below(4) != 0, let offset = any(of: written) { return offset - part.byteOffset }
    return below(part.byteCount)
  }
}

extension StressModel {
  /// Whether one more handle is within the limit.
  fileprivate var hasRoom: Bool { handles.count < StressScript.Limit.handles }
}
