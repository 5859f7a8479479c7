/// `fuchsia.sysmem2/BufferMemorySettings`. A field that is nil was absent from the table.
public struct BufferMemorySettings: Hashable, Sendable {
  /// The logical size in bytes, not rounded to pages; the allocation's own size is what counts.
  public var sizeBytes: UInt64?
  /// Absent means no.
  public var isPhysicallyContiguous: Bool?
  /// Memory that only trusted hardware reaches. Absent means no.
  public var isSecure: Bool?
  public var coherencyDomain: CoherencyDomain?
  /// The heap that the caller chose.
  public var heap: HeapIdentifier?
  public var rawVmoSize: UInt64?

  public init(
    sizeBytes: UInt64? = nil, isPhysicallyContiguous: Bool? = nil, isSecure: Bool? = nil,
    coherencyDomain: CoherencyDomain? = nil, heap: HeapIdentifier? = nil, rawVmoSize: UInt64? = nil
  ) {
    self.sizeBytes = sizeBytes
    self.isPhysicallyContiguous = isPhysicallyContiguous
    self.isSecure = isSecure
    self.coherencyDomain = coherencyDomain
    self.heap = heap
    self.rawVmoSize = rawVmoSize
  }
}

/// `fuchsia.sysmem2/CoherencyDomain`: who keeps the caches in step. Unknown numbers are kept.
public struct CoherencyDomain: RawRepresentable, Hashable, Sendable {
  public let rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The processor's caches hold what is written.
  public static let cpu = CoherencyDomain(rawValue: 0)
  /// Memory holds what is written: the processor flushes.
  public static let ram = CoherencyDomain(rawValue: 1)
  /// The processor has no access.
  public static let inaccessible = CoherencyDomain(rawValue: 2)
}

/// `fuchsia.sysmem2/Heap`: a kind of heap, and which of that kind.
public struct HeapIdentifier: Hashable, Sendable {
  /// At most 128 bytes in a message. ``DMABufHeap`` knows the paths of nodes, `/dev/dma_heap/NAME`, and serves the request from
  /// that heap alone; it does not look at any other.
  public var heapType: String?
  public var id: UInt64?

  public init(heapType: String? = nil, id: UInt64? = nil) {
    self.heapType = heapType
    self.id = id
  }
}
