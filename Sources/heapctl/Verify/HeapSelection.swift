internal import HeapTestKit
internal import LinuxHeaps
internal import SystemPackage

/// The heaps that a run is about, by what the command line says.
struct HeapSelection {
  let heaps: [HeapUnderTest]
  /// Heaps that are here and cannot be checked, each with the reason.
  let closed: [(HeapEntry, String)]

  init(choice: HeapChoice, service: ServiceChoice) async throws {
    if let socket = service.socket {
      heaps = try await Self.served(at: socket)
      closed = []
    } else if choice.names.isEmpty {
      heaps = HeapUnderTest.all()
      closed = HeapCatalog().heaps().compactMap { entry in
        Self.obstacle(of: entry).map { (entry, $0) }
      }
    } else {
      let entries = HeapCatalog().heaps()
      heaps = try choice.names.map { try Self.named($0, among: entries) }
      closed = []
    }
  }

  /// What keeps this user, or any, from checking a heap.
  private static func obstacle(of entry: HeapEntry) -> String? {
    if entry.role == .protected { return "the processor cannot look into protected memory" }
    return entry.node?.isUsable == true ? nil : "this user may not open \(entry.path.string)"
  }

  private static func named(_ name: String, among entries: [HeapEntry]) throws -> HeapUnderTest {
    if let heap = HeapChoice.builtIn[name] {
      if name == UDMABufHeap.name && !UDMABufHeap.isUsable { try expectServing(UDMABufHeap()) }
      return heap
    }
    guard let entry = entries.first(where: { $0.name == name }) else {
      complain(
        "verify \(name): no such heap. To fix it: use one of: "
          + (entries.map(\.name) + ["udmabuf", "memfd", "opaque"]).joined(separator: " "))
      throw Ending.noHeap
    }
    if entry.node?.isUsable != true { try expectServing(DMABufHeap(heaps: [name])) }
    return .dmaHeap(name, role: entry.role)
  }

  /// Absent or closed to this user: the heap's own words say which, before any check fails of it.
  private static func expectServing(_ heap: any Heap) throws(HeapError) {
    _ = try heap.allocateVmo(
      size: 1, settings: SingleBufferSettings(), bufferCollectionID: 0, bufferIndex: 0)
  }

  /// Each kind of memory that the service has.
  private static func served(at socket: String) async throws -> [HeapUnderTest] {
    let plain = try await HeapUnderTest.service(SingleBufferSettings(), socket: socket)
    guard plain.kind == .dmaHeap else { return [plain] }
    do throws(HeapError) {
      return [plain, try await .service(.contiguous, socket: socket)]
    } catch  where error.code == .notSupported {
      return [plain]
    }
  }
}
