import CHeapClient
import Glibc
import HeapProtocol
import HeapTestKit
import LinuxHeaps
import SystemPackage

/// The process that forks clients of a heap service, and kills them (see CHeapClient.h).
///
/// It is started once, and ends with this process. One test at a time uses it.
final class ClientNursery: Sendable {
  static let shared = Result { try ClientNursery() }

  private let socket: MessageSocket

  private init() throws {
    let pair = try MessageSocket.Pair()
    var process = pid_t()
    let error = pair.far.withDescriptor { unsafe CHeapClient_start_nursery($0, &process) }
    if error != 0 { throw Errno(rawValue: error) }
    socket = pair.keepingNear()
  }

  /// Clients from now on use this service; what others did is forgotten.
  ///
  /// - Parameter reconnects: Whether the service may go away.
  func setUp(_ heap: HeapUnderTest, socket path: String, reconnects: Bool) throws {
    var setup = CHeapClient_setup()
    Self.copy(path.utf8, &setup.heap)
    Self.copy((path + ".observer").utf8, &setup.observer)
    var message: [UInt8] = []
    AllocateVmoRequest(
      size: 0, settings: heap.settings, bufferCollectionID: 0, bufferIndex: 0
    ).encode(transactionID: 0, into: &message)
    Self.copy(message, &setup.allocate)
    setup.allocate_length = UInt32(message.count)
    setup.is_mappable = heap.kind == .opaque ? 0 : 1
    setup.reconnects = reconnects ? 1 : 0
    setup.page_size = UInt32(pageSize)
    setup.patience = 60_000
    try order(CHeapClient_SET_UP, setup: setup)
  }

  private static func copy<Field>(_ bytes: some Sequence<UInt8>, _ field: inout Field) {
    let bytes = Array(bytes)
    precondition(bytes.count <= MemoryLayout<Field>.size, "longer than CHeapClient.h allows")
    unsafe withUnsafeMutableBytes(of: &field) { unsafe $0.copyBytes(from: bytes) }
  }

  /// Clients that go on until ``stop()``.
  func start(_ count: Int, seed: UInt64) throws {
    try order(CHeapClient_START, count: count, seed: seed)
  }

  /// Starts clients and kills each, some living at a time.
  func killMany(_ count: Int, seed: UInt64) throws {
    try order(CHeapClient_KILL_MANY, count: count, seed: seed)
  }

  /// On return no client is left, and what they had is given back.
  @discardableResult
  func stop() throws -> Report { try order(CHeapClient_STOP) }

  /// What they did until now.
  func look() throws -> Report { try order(CHeapClient_LOOK) }

  @discardableResult
  private func order(
    _ verb: some BinaryInteger, count: Int = 0, seed: UInt64 = 0,
    setup: CHeapClient_setup = CHeapClient_setup()
  ) throws -> Report {
    let order = CHeapClient_order(
      verb: UInt32(verb), count: UInt32(count), seed: seed, setup: setup)
    try socket.send(unsafe withUnsafeBytes(of: order) { unsafe [UInt8]($0) })
    guard let message = try socket.receive(),
      message.bytes.count == MemoryLayout<CHeapClient_report>.size
    else { throw Errno.connectionReset }
    return unsafe message.bytes.withUnsafeBytes {
      unsafe Report($0.loadUnaligned(as: CHeapClient_report.self))
    }
  }

  /// What the clients did since the set-up.
  struct Report: CustomStringConvertible {
    let allocated, refused, deleted, shared, taken, known, reconnected, killed, faults: UInt64
    /// The first.
    let fault: String

    fileprivate init(_ report: CHeapClient_report) {
      allocated = report.allocated
      refused = report.refused
      deleted = report.deleted
      shared = report.shared
      taken = report.taken
      known = report.known
      reconnected = report.reconnected
      killed = report.killed
      faults = report.faults
      fault = unsafe withUnsafeBytes(of: report.fault) {
        unsafe String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
      }
    }

    var description: String {
      "allocated \(allocated), refused \(refused), deleted \(deleted), shared \(shared), "
        + "taken \(taken), known \(known), reconnected \(reconnected), killed \(killed), "
        + "faults \(faults) \(fault)"
    }
  }
}
