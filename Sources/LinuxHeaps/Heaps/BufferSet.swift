internal import SystemPackage

/// Vmos in a row, e.g. the buffers of a swap chain: an array cannot have them, because they cannot be copied.
///
/// ``Heap/allocateBuffers(count:byteCount:contiguous:)`` makes one, ``MessageSocket/send(_:)-(BufferSet)`` passes all of them on in one
/// message, and ``Heap/delete(_:)-(BufferSet)`` takes them back. Those that are still in it are closed with it.
@safe
public struct BufferSet: ~Copyable, Sendable {
  /// As many as there is room for; the first ``count`` are there.
  private nonisolated(unsafe) var vmos: UnsafeMutableBufferPointer<VMO>
  public private(set) var count = 0

  /// None.
  public init() { unsafe vmos = .allocate(capacity: 4) }

  deinit {
    unsafe vmos.extracting(..<count).deinitialize()
    unsafe vmos.deallocate()
  }

  public var isEmpty: Bool { count == 0 }

  public var indices: Range<Int> { 0..<count }

  /// - Parameter index: 0 to ``count`` - 1.
  public subscript(index: Int) -> VMO {
    _read {
      precondition(indices.contains(index), "there is no buffer \(index) of \(count)")
      yield unsafe vmos[index]
    }
  }

  public mutating func append(_ vmo: consuming VMO) {
    if unsafe count == vmos.count {
      let larger = UnsafeMutableBufferPointer<VMO>.allocate(capacity: count * 2)
      _ = unsafe larger.moveInitialize(fromContentsOf: vmos)
      unsafe vmos.deallocate()
      unsafe vmos = larger
    }
    unsafe vmos.initializeElement(at: count, to: vmo)
    count += 1
  }

  /// Takes the last one out; nil where there is none.
  public mutating func popLast() -> VMO? {
    if count == 0 { return nil }
    count -= 1
    return unsafe vmos.moveElement(from: count)
  }
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
    while let vmo = buffers.popLast() {
      do throws(HeapError) { try await delete(vmo) } catch { refusal = refusal ?? error }
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
  /// - Throws: ``HeapError/Code/peerClosed`` when the other end is closed.
  public func send(_ vmo: borrowing VMO) throws(HeapError) {
    let descriptor = vmo.fd.rawValue
    try attempt("send a vmo") { () throws(Errno) in
      try send(vmo.rangeBytes, descriptors: [descriptor])
    }
  }

  /// Sends handles to all vmos of a set in one message, for ``receiveBuffers()``; the sender keeps its own.
  ///
  /// - Throws: ``HeapError/Code/invalidArgs`` for more than ``mostDescriptors``, ``HeapError/Code/peerClosed`` when the other
  ///   end is closed.
  public func send(_ buffers: borrowing BufferSet) throws(HeapError) {
    var bytes: [UInt8] = []
    var descriptors: [CInt] = []
    for index in 0..<buffers.count {
      bytes += buffers[index].rangeBytes
      descriptors.append(buffers[index].fd.rawValue)
    }
    if descriptors.count > Self.mostDescriptors {
      throw HeapError(
        .invalidArgs, "send \(descriptors.count) vmos",
        cause: "a message carries at most \(Self.mostDescriptors)", fix: "send several sets")
    }
    try attempt("send vmos") { () throws(Errno) in try send(bytes, descriptors: descriptors) }
  }

  /// Waits for what ``send(_:)-(VMO)`` sent; nil when the other end is closed.
  ///
  /// - Throws: ``HeapError/Code/invalidArgs`` for another message, what ``VMO/init(adopting:)`` throws for what came along, and
  ///   what ``VMO/slice(offset:byteCount:)`` throws for a range that it does not have. All that came is closed.
  public func receiveVMO() throws(HeapError) -> VMO? {
    guard var buffers = try receiveBuffers() else { return nil }
    guard buffers.count == 1, let vmo = buffers.popLast() else {
      throw HeapError(
        .invalidArgs, "receive a vmo", cause: "the message brings \(buffers.count) of them")
    }
    return vmo
  }

  /// Waits for what ``send(_:)-(BufferSet)`` sent; nil when the other end is closed.
  ///
  /// - Throws: What ``receiveVMO()`` throws.
  public func receiveBuffers() throws(HeapError) -> BufferSet? {
    let message = try attempt("receive vmos") { () throws(Errno) in
      try receive(atMost: Self.mostDescriptors * Self.rangeSize)
    }
    guard var message else { return nil }
    guard message.bytes.count == message.descriptors.count * Self.rangeSize else {
      throw HeapError(
        .invalidArgs, "receive vmos",
        cause:
          "the message has \(message.bytes.count) bytes for \(message.descriptors.count) descriptors",
        fix: "send vmos with send(_:), and receive what is sent otherwise with receive(atMost:)")
    }
    var buffers = BufferSet()
    var ranges = message.bytes[...]
    func next() -> UInt64 {
      defer { ranges = ranges.dropFirst(8) }
      return ranges.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
    while let descriptor = message.descriptors.next() {
      let whole = try VMO(adopting: descriptor)
      buffers.append(try whole.slice(offset: next(), byteCount: next()))
    }
    return buffers
  }
}

extension VMO {
  fileprivate var rangeBytes: [UInt8] {
    [offset, byteCount].flatMap { number in
      (0..<8).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
    }
  }
}
