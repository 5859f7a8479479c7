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
}

extension StressAction {
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
