/// One buffer of the machine, and who holds it.
package struct HeldBuffer: Sendable {
  /// What the kernel knows it by: dma-bufs share one file system, memfds another.
  package struct Key: Hashable, Sendable {
    let kind: BufferFile.Kind
    package let inode: UInt64
  }

  package let key: Key
  /// The exporter of a dma-buf; `memfd` or `opaque`; nil where nothing tells it.
  package internal(set) var heap: String?
  /// Bytes; nil where only a mapping told of the buffer.
  package internal(set) var size: UInt64?
  /// Its name in the kernel.
  package internal(set) var name: String?
  /// References to a dma-buf in the whole system; the kernel tells none of a memfd.
  package internal(set) var count: Int?
  /// The devices that imported it, where debugfs could be read.
  package internal(set) var devices: [String] = []
  package internal(set) var holders: [Holders.Holder] = []
  /// Found in a process.
  package internal(set) var isInProcesses = false
  /// Found in the kernel's own list; nil where there is none to look into.
  package internal(set) var isInList: Bool?

  init(_ key: Key) { self.key = key }

  package var isDMABuf: Bool { key.kind == .dmaBuf }

  /// What this package's heaps call it; any holder of a dma-buf can change its name.
  package var label: BufferName? { name.flatMap(BufferName.init(parsing:)) }

  /// References that processes hold.
  package var seen: Int { holders.reduce(0) { $0 + $1.descriptors + $1.mappings } }

  /// References that no process was seen to hold. The figures are of moments close to each other, so
  /// what changes hands meanwhile can be missed or counted twice.
  package var beyond: Int? { count.map { max(0, $0 - seen) } }
}
