/// Vmos with a size and an identity, and no pages: names for memory that only a device has.
///
/// A vmo is a memfd that is sealed against every write and handed out open for writing only, so read,
/// write and every mapping fail. Its mode keeps holders from reopening it for reading; a process with
/// `CAP_DAC_OVERRIDE` still can, and then reads zeroes. No seal stops fallocate(2): a holder can have
/// the kernel put pages there, charged to itself, which nobody can reach.
public struct OpaqueHeap: LocalHeap {
  /// The name that ``VMO/heapName`` shows.
  public static let name = "opaque"

  public let properties = HeapProperties(
    coherencyDomainSupport: CoherencyDomainSupport(
      cpuSupported: false, ramSupported: false, inaccessibleSupported: true))
  public let buffers: LiveBuffers
  public func hasMemory(for settings: SingleBufferSettings) -> Bool { !settings.asksForContiguous }
  private let admission: Admission

  public init(admission: Admission = .standard, reclaimer: Reclaimer = .shared) {
    self.admission = admission
    buffers = LiveBuffers(reclaimer: reclaimer)
  }

  public func makeMemoryAtOnce(
    for request: borrowing BufferRequest
  ) throws(HeapError) -> BufferMemory? { try makeMemory(for: request) }

  public func makeMemory(for request: borrowing BufferRequest) throws(HeapError) -> BufferMemory {
    try BufferMemory(memfdOf: .opaque, request, admission)
  }
}
