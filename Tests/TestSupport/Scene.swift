import HeapProtocol
import LinuxHeaps
package import Testing

/// A server of ``ServedHeaps/first``, and a client of it that must not notice what others do.
package final class Scene {
  package let daemon: Daemon
  package let heap: WireClient
  package let observer: WireClient
  private let buffer: SharedFD
  /// Of the server, with nobody else connected.
  package private(set) var descriptorCount = 0

  private static let collection: UInt64 = 99

  package init(
    configuration: String? = nil, arguments: [String] = [], through prefix: [String] = []
  ) throws {
    daemon = try Daemon(
      heap: [ServedHeaps.first], configuration: configuration, arguments: arguments,
      through: prefix, openFolder: true)
    heap = try .heap(daemon)
    observer = try .observer(daemon)
    buffer = try heap.allocate(0, of: Self.collection)
    // Some descriptors are opened at first use, and kept: to count a buffer's references, for one.
    try allocateAndDelete()
    let isAlone = try eventually { try observer.status().isAlone(2) }
    #expect(isAlone)
    descriptorCount = try daemon.descriptorCountAtRest
  }

  /// Its connections serve it, its buffer is there, and the server keeps nothing of others.
  package func expectUnharmed(sourceLocation: SourceLocation = #_sourceLocation) throws {
    let info = try observer.info(buffer)
    #expect(
      info == BufferKey(bufferCollectionID: Self.collection, bufferIndex: 0),
      sourceLocation: sourceLocation)
    try allocateAndDelete()
    try daemon.expectDescriptorCount(descriptorCount, sourceLocation: sourceLocation)
  }

  private func allocateAndDelete() throws {
    do {
      let another = try heap.allocate(1, of: Self.collection)
      try heap.sendDelete(1, of: Self.collection, another)
    }
    try heap.receiveDeleted(heap.lastTransaction)
  }
}
