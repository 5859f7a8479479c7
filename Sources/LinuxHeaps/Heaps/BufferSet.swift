/// A vmo with several owners, closed when the last lets go: an element of arrays, which a vmo, that cannot be copied, is not.
public final class SharedVMO: Sendable {
  public let vmo: VMO

  public init(_ vmo: consuming VMO) { self.vmo = vmo }
}

/// Vmos in a row, e.g. the buffers of a swap chain.
///
/// ``Heap/allocateBuffers(count:byteCount:contiguous:)`` makes one, ``MessageSocket/send(_:)-(BufferSet)`` passes all of them on in one
/// message, and ``Heap/delete(_:)-(BufferSet)`` takes them back. `buffers[1].vmo` is one of them.
public struct BufferSet: ~Copyable, Sendable {
  /// They are closed with the set, but for those that others own too.
  public var elements: [SharedVMO] = []

  /// None.
  public init() {}

  public var count: Int { elements.count }

  public var indices: Range<Int> { elements.indices }

  /// - Parameter index: 0 to ``count`` - 1.
  public subscript(index: Int) -> SharedVMO { elements[index] }

  public mutating func append(_ vmo: consuming VMO) { elements.append(SharedVMO(vmo)) }
}

extension Heap {
  /// Allocates buffers 0 to `count` - 1 of a collection that nobody else has.
  ///
  /// - Parameters:
  ///   - count: How many.
  ///   - byteCount: Of each, rounded up to whole pages.
  ///   - contiguous: Whether the memory of each has to be physically contiguous.
  /// - Throws: What ``allocate(byteCount:contiguous:)`` throws; those that were made before go back.
  public func allocateBuffers(
    count: Int, byteCount: UInt64, contiguous: Bool = false
  ) throws(HeapError) -> BufferSet {
    let collection = UInt64.random(in: 0 ... .max)
    var buffers = BufferSet()
    for index in 0..<UInt64(max(count, 0)) {
      let key = BufferKey(bufferCollectionID: collection, bufferIndex: index)
      buffers.append(try allocate(key, byteCount: byteCount, contiguous: contiguous))
    }
    return buffers
  }

  /// Takes the last handles back, and returns when all of the buffers are gone.
  ///
  /// - Throws: The first refusal, as ``delete(_:)-(VMO)`` throws it, after all have been tried.
  public func delete(_ buffers: consuming BufferSet) async throws(HeapError) {
    var refusal: HeapError?
    while !buffers.elements.isEmpty {
      do throws(HeapError) {
        // What a shared vmo has cannot be taken out of it: it ends as another handle.
        let vmo = try buffers.elements.removeFirst().vmo.duplicate()
        try await delete(vmo)
      } catch {
        refusal = refusal ?? error
      }
    }
    if let refusal { throw refusal }
  }
}

// A descriptor stands for a whole buffer, so a message says of each which part is meant: its offset and its size in bytes, 8
// bytes each, the least significant first.

extension MessageSocket {
  private static let rangeSize = 16

  /// Sends a handle to the vmo's range in one message, for ``receiveVMO()``; the sender keeps its own.
  ///
  /// - Throws: What ``send(_:descriptors:)`` throws.
  public func send(_ vmo: borrowing VMO) throws(HeapError) {
    try send(vmo.rangeBytes, [vmo.fd.rawValue], "send a vmo")
  }

  /// Sends handles to all vmos of a set in one message, for ``receiveBuffers()``; the sender keeps its own.
  ///
  /// - Throws: What ``send(_:descriptors:)`` throws.
  public func send(_ buffers: borrowing BufferSet) throws(HeapError) {
    var bytes: [UInt8] = []
    var descriptors: [CInt] = []
    for element in buffers.elements {
      bytes += element.vmo.rangeBytes
      descriptors.append(element.vmo.fd.rawValue)
    }
    try send(bytes, descriptors, "send \(descriptors.count) vmos")
  }

  /// Waits for what ``send(_:)-(VMO)`` sent; nil when the other end is closed.
  ///
  /// - Throws: ``HeapError/Code/invalidArgs`` for another message, what ``receive(atMost:)`` throws, what ``VMO/init(adopting:)``
  ///   throws for what came along, and what ``VMO/slice(offset:byteCount:)`` throws for a range that it does not have. All that
  ///   came is closed.
  public func receiveVMO() throws(HeapError) -> VMO? {
    guard var message = try receiveRanges() else { return nil }
    guard message.descriptors.count == 1 else {
      throw HeapError(
        .invalidArgs, "receive a vmo",
        cause: "the message brings \(message.descriptors.count) vmos",
        fix: "receive them with receiveBuffers()")
    }
    return try Self.takeVMO(0, &message)
  }

  /// Waits for what ``send(_:)-(BufferSet)`` sent; nil when the other end is closed.
  ///
  /// - Throws: What ``receiveVMO()`` throws.
  public func receiveBuffers() throws(HeapError) -> BufferSet? {
    guard var message = try receiveRanges() else { return nil }
    var buffers = BufferSet()
    for index in 0..<message.descriptors.count {
      buffers.append(try Self.takeVMO(index, &message))
    }
    return buffers
  }

  private func receiveRanges() throws(HeapError) -> Message? {
    let operation = "receive vmos"
    guard let message = try receive(atMost: Self.mostDescriptors * Self.rangeSize, operation)
    else { return nil }
    let (length, count) = (message.bytes.count, message.descriptors.count)
    if count == 0 && length > 0 {
      throw HeapError(
        .invalidArgs, operation, cause: "the message carries no vmo", fix: "read it with receive()")
    }
    guard length == count * Self.rangeSize else {
      throw HeapError(
        .invalidArgs, operation, cause: "the message has \(length) bytes for \(count) descriptors",
        fix: "receive what was not sent by send(_:) with receive(atMost:)")
    }
    return message
  }

  private static func takeVMO(_ index: Int, _ message: inout Message) throws(HeapError) -> VMO {
    let range = message.bytes.dropFirst(index * rangeSize).prefix(rangeSize)
    func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
      bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    return try VMO(adopting: message.descriptors.next()!).slice(
      offset: number(range.prefix(8)), byteCount: number(range.suffix(8)))
  }
}

extension VMO {
  fileprivate var rangeBytes: [UInt8] {
    [offset, byteCount].flatMap { number in
      (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
  }
}
