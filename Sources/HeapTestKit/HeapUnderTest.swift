internal import Glibc
internal import HeapClient
public import LinuxHeaps

/// A heap that is to be checked, and how to ask it for memory.
public struct HeapUnderTest: Sendable, CustomStringConvertible {
  /// What a heap is in the kernel; it decides which checks there are.
  public enum Kind: String, CaseIterable, Sendable {
    /// A node of `/dev/dma_heap`.
    case dmaHeap = "dma-buf heap"
    case udmabuf
    case memfd
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
  /// Whether another process serves it: what the kernel offers this one says nothing of it then.
  let isRemote: Bool
  /// A heap of its own for each check, so that a check counts only its own buffers.
  let make: @Sendable () throws -> any Heap

  /// A heap of one's own.
  ///
  /// - Parameters:
  ///   - name: For reports.
  ///   - kind: What its buffers are in the kernel. Of a ``Kind/dmaHeap`` some checks open the node that `name` names; for
  ///     dma-bufs of another driver there is no kind yet.
  ///   - settings: What its requests say.
  ///   - make: A heap of its own for each check, so that a check counts only its own buffers.
  public init(
    name: String, kind: Kind, settings: SingleBufferSettings = SingleBufferSettings(),
    make: @escaping @Sendable () throws -> any Heap
  ) {
    self.init(
      name: name, kind: kind, settings: settings, isRemote: false, patience: .seconds(60),
      make: make)
  }

  init(
    name: String, kind: Kind, settings: SingleBufferSettings, isRemote: Bool,
    patience: Duration = .seconds(60), make: @escaping @Sendable () throws -> any Heap
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
  public static let memfd = Self(name: MemfdHeap.name, kind: .memfd) { MemfdHeap() }
  public static let opaque = Self(name: OpaqueHeap.name, kind: .opaque) { OpaqueHeap() }

  /// The heap that a service serves, found out by asking it for a page.
  ///
  /// - Parameters:
  ///   - settings: What its requests say; a service can have several kinds of memory.
  ///   - socket: Where `heapd --socket` serves.
  public static func service(
    _ settings: SingleBufferSettings, socket: String
  ) async throws(HeapError) -> HeapUnderTest {
    let heap = try RemoteHeap(socket: socket)
    let collection = UInt64(getpid()) << 32
    let vmo = try await heap.allocateVmo(
      size: 1, settings: settings, bufferCollectionID: collection, bufferIndex: .max)
    let kind: Kind =
      switch vmo.kind {
      case .dmaBuf: try vmo.exporterName == UDMABufHeap.name ? .udmabuf : .dmaHeap
      case .memfd: .memfd
      case .opaque: .opaque
      }
    let name = try vmo.exporterName ?? vmo.kind.rawValue
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: .max, vmo: vmo)
    return HeapUnderTest(
      name: "\(name), served at \(socket)", kind: kind, settings: settings, isRemote: true
    ) { try RemoteHeap(socket: socket) }
  }

  /// Every heap that this process may use on this machine: those of the kernel, then the built-in.
  public static func all(in catalog: HeapCatalog = HeapCatalog()) -> [HeapUnderTest] {
    // The processor cannot look into protected memory, and most checks have to.
    let nodes = catalog.heaps().filter { $0.node?.isUsable == true && $0.role != .protected }
    return nodes.map { .dmaHeap($0.name, role: $0.role) }
      + (UDMABufHeap.isUsable ? [.udmabuf] : []) + [.memfd, .opaque]
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
