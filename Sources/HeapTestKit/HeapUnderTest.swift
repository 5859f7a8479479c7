internal import CLibrary
internal import HeapClient
public import LinuxHeaps

/// A heap that is to be checked, and how to ask it for memory.
public struct HeapUnderTest: Sendable, CustomStringConvertible {
  /// What a heap's buffers are in the kernel; it decides which checks there are.
  public enum Kind: String, CaseIterable, Sendable {
    /// Dma-bufs of the node of `/dev/dma_heap` that has the heap's name.
    case dmaHeap = "dma-buf heap"
    /// Dma-bufs of any exporter that the processor can map: a driver's, or those of a node with another name than the
    /// heap's. Checks of the node and its ioctl are left out: `ioctl-refusals`, `ioctl-struct-size`, `ioctl-descriptor`,
    /// `exporter` and `same-region`.
    case dmaBuf = "dma-buf"
    /// Dma-bufs of `UDMABufHeap` itself, whose isolated slices are checked, too.
    case udmabuf
    /// Memfds that are sealed against shrinking.
    case memfd
    /// Memfds that nobody can read, write or map.
    case opaque
  }

  /// The node's name, or that of a built-in heap.
  public let name: String
  public let kind: Kind
  /// What its requests say.
  public let settings: SingleBufferSettings
  /// How long a check waits for what must come true. It only ends a failure, so it is long enough for
  /// an emulated machine.
  let patience: Duration
  private static let usualPatience: Duration = .seconds(60)
  /// Whether another process serves it: what the kernel offers this one says nothing of it then.
  let isRemote: Bool
  /// A heap of its own for each check, so that a check counts only its own buffers.
  package let make: @Sendable () throws -> any Heap

  /// A heap of one's own.
  ///
  /// - Parameters:
  ///   - name: For reports.
  ///   - kind: What its buffers are in the kernel: for dma-bufs ``Kind/dmaBuf``, unless `name` is that of the node of
  ///     `/dev/dma_heap` that they come from.
  ///   - settings: What its requests say.
  ///   - make: A heap of its own for each check, so that a check counts only its own buffers.
  public init(
    name: String, kind: Kind, settings: SingleBufferSettings = SingleBufferSettings(),
    make: @escaping @Sendable () throws -> any Heap
  ) {
    self.init(
      name: name, kind: kind, settings: settings, isRemote: false, patience: Self.usualPatience,
      make: make)
  }

  init(
    name: String, kind: Kind, settings: SingleBufferSettings, isRemote: Bool,
    patience: Duration = Self.usualPatience, make: @escaping @Sendable () throws -> any Heap
  ) {
    self.name = name
    self.kind = kind
    self.settings = settings
    self.isRemote = isRemote
    self.patience = patience
    self.make = make
  }

  public var description: String { name }

  /// A node of `/dev/dma_heap`, by its whole name.
  public static func dmaHeap(_ name: String, role: HeapRole) -> HeapUnderTest {
    let settings: SingleBufferSettings =
      switch role {
      case .contiguous: .contiguous
      case .protected: SingleBufferSettings(bufferSettings: BufferMemorySettings(isSecure: true))
      case .system, .other: SingleBufferSettings()
      }
    return HeapUnderTest(name: name, kind: .dmaHeap, settings: settings) {
      DMABufHeap(heaps: [name])
    }
  }

  public static let udmabuf = Self(name: UDMABufHeap.name, kind: .udmabuf) { UDMABufHeap() }
  public static let hugetlb = Self(name: HugeHeap.name, kind: .dmaBuf, settings: .contiguous) {
    HugeHeap()
  }
  public static let memfd = Self(name: MemfdHeap.name, kind: .memfd) { MemfdHeap() }
  public static let opaque = Self(name: OpaqueHeap.name, kind: .opaque) { OpaqueHeap() }

  /// The heap that a service serves, found out by asking it for a page. A service that does not answer within a minute
  /// fails the check.
  ///
  /// - Parameters:
  ///   - settings: What its requests say; a service can have several kinds of memory.
  ///   - socket: Where `heapd --socket` serves.
  public static func service(
    _ settings: SingleBufferSettings, socket: String
  ) async throws(HeapError) -> HeapUnderTest {
    let heap = try RemoteHeap(socket: socket, deadline: usualPatience)
    let collection = UInt64(getpid()) << 32
    let vmo = try await heap.allocateVmo(
      size: 1, settings: settings, bufferCollectionID: collection, bufferIndex: .max)
    let kind: Kind =
      switch vmo.kind {
      case .dmaBuf: vmo.heapName == UDMABufHeap.name ? .udmabuf : .dmaBuf
      case .memfd: .memfd
      case .opaque: .opaque
      }
    let name = vmo.heapName ?? vmo.kind.rawValue
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: .max, vmo: vmo)
    return HeapUnderTest(
      name: "\(name), served at \(socket)", kind: kind, settings: settings, isRemote: true
    ) { try RemoteHeap(socket: socket, deadline: usualPatience) }
  }

  /// Every heap that this process may use on this machine: those of the kernel, then the built-in.
  public static func all(in catalog: HeapCatalog = HeapCatalog()) -> [HeapUnderTest] {
    // The processor cannot look into protected memory, and most checks have to.
    let nodes = catalog.heaps().filter { $0.isUsable && $0.role != .protected }
    return nodes.map { .dmaHeap($0.name, role: $0.role) }
      + (UDMABufHeap.isUsable ? [.udmabuf] : []) + (HugeHeap.isUsable ? [.hugetlb] : [])
      + [.memfd, .opaque]
  }

  /// How long one allocation of a heap takes.
  ///
  /// Each buffer is given back before the next is asked for, so that one buffer's room is enough. The
  /// first allocation is not counted: it pays for what is set up once.
  ///
  /// - Returns: A time for each allocation that was made, and the refusal that ended them early.
  public func allocationTimes(
    of size: UInt64, count: Int
  ) async -> (times: [Duration], refusal: HeapError?) {
    var times: [Duration] = []
    do {
      let bench = try CheckBench(self)
      for index in 0...UInt64(count) {
        let start = ContinuousClock.now
        let vmo = try bench.allocate(size, index: index)
        let time = ContinuousClock.now - start
        if index > 0 { times.append(time) }
        try await bench.delete(vmo, index: index)
      }
      return (times, nil)
    } catch let error as HeapError {
      return (times, error)
    } catch {
      preconditionFailure("a heap threw no HeapError: \(error)")
    }
  }
}
