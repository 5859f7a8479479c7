internal import CLibrary
internal import CLinuxHeaps
internal import Synchronization
internal import SystemPackage

/// What a mapping may be used for: ``ReadOnly`` or ``ReadWrite``.
public protocol AccessRights {
  /// The bits of `PROT_*` (mmap(2)) and of `DMA_BUF_SYNC_*` (linux/dma-buf.h).
  static var bits: AccessBits { get }
}

/// The kernel's bits for one kind of access.
public struct AccessBits: Sendable {
  let protection: CInt
  let sync: UInt64
}

/// Reading.
public enum ReadOnly: AccessRights {
  public static let bits = AccessBits(protection: PROT_READ, sync: UInt64(DMA_BUF_SYNC_READ))
}

/// Reading and writing.
public enum ReadWrite: AccessRights {
  public static let bits = AccessBits(
    protection: PROT_READ | PROT_WRITE, sync: UInt64(DMA_BUF_SYNC_READ) | UInt64(DMA_BUF_SYNC_WRITE)
  )
}

/// A vmo's range in this process's memory; unmapped by ``unmap()``, or when it goes out of scope.
///
/// It keeps the buffer alive by itself, as any handle does: a mapping is a child, and
/// ``Heap/deleteVmo(bufferCollectionID:bufferIndex:vmo:)`` waits for it. Its bytes are reached within the brackets of CPU access
/// alone: by ``withBytes(_:)``, ``withMutableBytes(_:)``, ``copyBytes(_:)``, or a ``CPUAccess`` of one's own. A mapped dma-buf also
/// holds a descriptor of its own, because the kernel brackets CPU access by descriptor.
@safe
public struct Mapping<Rights: AccessRights>: ~Copyable, Sendable {
  private nonisolated(unsafe) let base: UnsafeMutableRawPointer
  /// Bytes.
  public let byteCount: Int
  /// -1 where the kernel needs no bracket.
  fileprivate let syncDescriptor: CInt
  private let reference: LocalReference

  fileprivate init(_ vmo: borrowing VMO) throws(HeapError) {
    if vmo.kind == .opaque {
      throw HeapError(
        .notSupported, vmo.mapOperation, cause: "an opaque vmo has a size and no pages")
    }
    guard let length = Int(exactly: vmo.byteCount) else {
      throw HeapError(
        .outOfRange, vmo.mapOperation, cause: "it does not fit the address space")
    }
    do throws(Errno) {
      var sync: OwnedFD?
      if vmo.kind == .dmaBuf {
        let number = vmo.fd.rawValue
        sync = OwnedFD(adopting: try call { fcntl(number, F_DUPFD_CLOEXEC, 0) })
      }
      var address = unsafe mmap(
        nil, length, Rights.bits.protection, MAP_SHARED, vmo.fd.rawValue, off_t(vmo.offset))
      // Of a memfd that is sealed against writing and open for it no mapping was shared before Linux 6.7. What nobody can write
      // a private one shows as well.
      if unsafe address == MAP_FAILED, errno == EPERM, Rights.self == ReadOnly.self {
        unsafe address = mmap(
          nil, length, PROT_READ, MAP_PRIVATE, vmo.fd.rawValue, off_t(vmo.offset))
      }
      guard let address = unsafe address, unsafe address != MAP_FAILED else {
        throw Errno(rawValue: errno)
      }
      unsafe base = address
      byteCount = length
      WaitingDeletion.liveMappings.add(1, ordering: .relaxed)
      reference = vmo.fd.reference.another()
      syncDescriptor = sync.take()?.release() ?? -1
    } catch {
      throw HeapError(error, vmo.mapOperation)
    }
  }

  deinit {
    unsafe munmap(base, byteCount)
    if syncDescriptor >= 0 { close(syncDescriptor) }
    WaitingDeletion.liveMappings.subtract(1, ordering: .relaxed)
    reference.end()
  }

  /// Unmaps now, where the value would otherwise live to the end of its scope.
  ///
  /// Swift does not let a mapping be consumed in a function in which a ``CPUAccess`` of it was begun: there its scope ends it.
  public consuming func unmap() {}

  var bytes: UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(start: base, count: byteCount)
  }

  /// Begins reading.
  ///
  /// - Throws: What the exporter answers to `DMA_BUF_IOCTL_SYNC`.
  @_lifetime(borrow self)
  public borrowing func readAccess() throws(HeapError) -> CPUAccess<ReadOnly> {
    try CPUAccess(self)
  }
}

extension Mapping where Rights == ReadWrite {
  /// Begins reading and writing.
  ///
  /// - Throws: What the exporter answers to `DMA_BUF_IOCTL_SYNC`.
  @_lifetime(borrow self)
  public borrowing func writeAccess() throws(HeapError) -> CPUAccess<ReadWrite> {
    try CPUAccess(self)
  }
}

// Brackets that end by themselves.

extension Mapping {
  fileprivate var elements: UnsafeMutableBufferPointer<UInt8> {
    unsafe bytes.bindMemory(to: UInt8.self)
  }

  /// Reads the bytes in place, between the two calls of `DMA_BUF_IOCTL_SYNC`.
  ///
  /// For memory that nobody else writes meanwhile: what others can write is to be copied first, by ``copyBytes(_:)``.
  ///
  /// - Throws: What the exporter answers to `DMA_BUF_IOCTL_SYNC`, and what `body` throws.
  public borrowing func withBytes<Result: ~Copyable>(
    _ body: (Span<UInt8>) throws -> Result
  ) throws -> Result {
    let access = try readAccess()
    let result = try body(unsafe Span(_unsafeElements: UnsafeBufferPointer(elements)))
    try access.end()
    return result
  }

  /// Copies bytes out, once each, so that what others write meanwhile changes nothing of what is looked at.
  ///
  /// - Parameter range: From the mapping's start; all of it where none is given.
  /// - Throws: ``HeapError/Code/outOfRange`` for a range that leaves the mapping; what the exporter answers to
  ///   `DMA_BUF_IOCTL_SYNC`.
  public borrowing func copyBytes(_ range: Range<Int>? = nil) throws(HeapError) -> [UInt8] {
    let range = range ?? 0..<Int(byteCount)
    guard range.lowerBound >= 0, range.upperBound <= byteCount else {
      throw HeapError(
        .outOfRange, "copy bytes \(range) of a mapping", cause: "it has \(byteCount) bytes",
        fix: "end at \(byteCount) or before")
    }
    let access = try readAccess()
    let copy = unsafe [UInt8](UnsafeRawBufferPointer(rebasing: bytes[range]))
    try access.end()
    return copy
  }
}

extension Mapping where Rights == ReadWrite {
  /// Reads and writes the bytes in place, between the two calls of `DMA_BUF_IOCTL_SYNC`.
  ///
  /// - Throws: What the exporter answers to `DMA_BUF_IOCTL_SYNC`, and what `body` throws.
  public borrowing func withMutableBytes<Result: ~Copyable>(
    _ body: (inout MutableSpan<UInt8>) throws -> Result
  ) throws -> Result {
    let access = try writeAccess()
    var span = unsafe MutableSpan(_unsafeElements: elements)
    let result = try body(&span)
    try access.end()
    return result
  }
}

// For languages that have no lifetimes.
extension Mapping {
  /// Where the bytes are, which are to be used within brackets.
  package var address: UnsafeMutableRawPointer { unsafe base }

  /// The first bracket of an access; its rights may be less than the mapping's.
  package borrowing func begin<Access: AccessRights>(_: Access.Type) throws(HeapError) {
    try CPUAccess<Access>.begin(syncDescriptor)
  }

  /// The second one.
  package borrowing func end<Access: AccessRights>(_: Access.Type) throws(HeapError) {
    try CPUAccess<Access>.end(syncDescriptor)
  }
}

extension VMO {
  /// Reads the bytes of the range in place; it is mapped meanwhile and not after.
  ///
  /// For memory that nobody else writes meanwhile: what others can write is to be copied first, by ``copyBytes(_:)``.
  ///
  /// - Throws: What ``mapReadOnly()`` and ``Mapping/withBytes(_:)`` throw.
  public func withBytes<Result: ~Copyable>(
    _ body: (Span<UInt8>) throws -> Result
  ) throws -> Result {
    try mapReadOnly().withBytes(body)
  }

  /// Reads and writes the bytes of the range in place; it is mapped meanwhile and not after.
  ///
  /// - Throws: What ``map()`` and ``Mapping/withMutableBytes(_:)`` throw.
  public func withMutableBytes<Result: ~Copyable>(
    _ body: (inout MutableSpan<UInt8>) throws -> Result
  ) throws -> Result {
    try map().withMutableBytes(body)
  }

  /// Copies bytes out, once each: for memory that others can write.
  ///
  /// - Parameter range: From the vmo's start; all of it where none is given.
  /// - Throws: What ``mapReadOnly()`` and ``Mapping/copyBytes(_:)`` throw.
  public func copyBytes(_ range: Range<Int>? = nil) throws(HeapError) -> [UInt8] {
    try mapReadOnly().copyBytes(range)
  }

  /// Maps the range for reading and writing.
  ///
  /// - Throws: ``HeapError/Code/notSupported`` for an opaque vmo, which has no pages, and
  ///   ``HeapError/Code/accessDenied`` for a descriptor that was opened for less.
  public func map() throws(HeapError) -> Mapping<ReadWrite> {
    try Mapping(self)
  }

  /// Maps the range for reading.
  public func mapReadOnly() throws(HeapError) -> Mapping<ReadOnly> {
    try Mapping(self)
  }

  fileprivate var mapOperation: String {
    "map \(byteCount.asByteCount) of \(kind == .opaque ? "an opaque vmo" : "a \(kind.rawValue)")"
  }
}

/// A time in which the processor works on a mapping's bytes; it cannot outlive the mapping. Where one call has all of it,
/// ``Mapping/withBytes(_:)`` and its like are simpler.
///
/// For a dma-buf it stands between the two calls of `DMA_BUF_IOCTL_SYNC` that make the processor's
/// caches agree with the devices, and that wait for the fences of devices still at work. The same
/// flags go with both. Others can write to the memory meanwhile: read a value once and check the copy.
@safe
public struct CPUAccess<Rights: AccessRights>: ~Copyable, ~Escapable {
  private let memory: UnsafeMutableRawBufferPointer
  private let syncDescriptor: CInt

  @_lifetime(borrow mapping)
  fileprivate init<Mapped: AccessRights>(_ mapping: borrowing Mapping<Mapped>) throws(HeapError) {
    unsafe memory = mapping.bytes
    syncDescriptor = mapping.syncDescriptor
    try Self.begin(syncDescriptor)
  }

  fileprivate static func begin(_ descriptor: CInt) throws(HeapError) {
    if descriptor >= 0 {
      try attempt("begin CPU access to a dma-buf") { () throws(Errno) in
        try DMABuf.sync(descriptor, Rights.bits.sync | UInt64(DMA_BUF_SYNC_START))
      }
    }
  }

  deinit { try? Self.endSync(syncDescriptor) }

  /// Ends the access and says whether the kernel took it; going out of scope ends it too.
  public consuming func end() throws(HeapError) {
    let descriptor = syncDescriptor
    discard self
    try Self.end(descriptor)
  }

  fileprivate static func end(_ descriptor: CInt) throws(HeapError) {
    try attempt("end CPU access to a dma-buf") { () throws(Errno) in try endSync(descriptor) }
  }

  private static func endSync(_ descriptor: CInt) throws(Errno) {
    if descriptor >= 0 {
      try DMABuf.sync(descriptor, Rights.bits.sync | UInt64(DMA_BUF_SYNC_END))
    }
  }

  /// To be used until ``end()``; it lives as long as the mapping, so that the access can be ended by name.
  public var bytes: RawSpan {
    @_lifetime(copy self)
    get {
      let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(memory))
      return unsafe _overrideLifetime(span, copying: self)
    }
  }
}

extension CPUAccess where Rights == ReadWrite {
  /// To be used until ``CPUAccess/end()``.
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableRawSpan(_unsafeBytes: memory)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }
}
