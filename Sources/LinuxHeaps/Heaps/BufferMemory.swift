internal import CLinuxHeaps
internal import SystemPackage

/// What a heap is asked to make.
public struct BufferRequest: ~Copyable, Sendable {
  /// Which buffer of its heap it is to be.
  public let key: BufferKey
  /// Bytes: whole pages, at least one.
  public let size: UInt64
  /// As they came: looked at only where the heap depends on them.
  public let settings: SingleBufferSettings

  /// What the buffer is called in the kernel; a dma-buf gets it later, a memfd when it is made.
  public var name: String { key.description }

  /// What is being done, for an error.
  public var operation: String { "allocate \(size.asByteCount)" }

  /// The user for whom it is made, where the heap's buffers are several users'.
  package let owner: UInt32?

  package init(
    key: BufferKey, size: UInt64, settings: SingleBufferSettings, owner: UInt32? = nil
  ) {
    self.key = key
    self.size = size
    self.settings = settings
    self.owner = owner
  }
}

/// What a heap makes: a parent to keep, of which the first child is made, and what it counts for.
///
/// The buffer is reclaimed when that child and all that was made of it are closed, wherever they are.
public struct BufferMemory: ~Copyable, Sendable {
  package let parent: any Parent
  package let heapName: String
  let grant: Admission.Grant

  package init(parent: any Parent, heapName: String, grant: consuming Admission.Grant) {
    self.parent = parent
    self.heapName = heapName
    self.grant = grant
  }

  /// The same memory, with a parent that keeps this one's.
  package consuming func wrapping(_ wrap: (any Parent) -> any Parent) -> BufferMemory {
    BufferMemory(parent: wrap(parent), heapName: heapName, grant: grant)
  }

  /// A dma-buf, of whichever driver. It gets the buffer's name (`DMA_BUF_SET_NAME`), and its first child is a dup of
  /// the descriptor.
  ///
  /// - Parameters:
  ///   - descriptor: The only one there is of the dma-buf, which has no mapping and no import either: `count` in its
  ///     fdinfo is 1.
  ///   - request: What was asked for.
  ///   - heapName: What ``VMO/heapName`` shows.
  ///   - grant: What ``Admission/admit(_:for:)`` gave for it.
  /// - Throws: ``HeapError/Code/wrongType`` for what is no dma-buf, or one that is smaller than the request;
  ///   ``HeapError/Code/noResources`` where the process may open no more files.
  public init(
    dmaBuf descriptor: consuming OwnedFD, for request: borrowing BufferRequest, heapName: String,
    grant: consuming Admission.Grant
  ) throws(HeapError) {
    let operation = request.operation
    let parent: DMABufParent?
    do throws(Errno) { parent = try Self.keep(descriptor, for: request) } catch {
      throw HeapError(error, operation)
    }
    try self.init(parent, for: request, heapName: heapName, grant: grant, "dma-buf")
  }

  private static func keep(
    _ descriptor: consuming OwnedFD, for request: borrowing BufferRequest
  ) throws(Errno) -> DMABufParent? {
    guard let info = try FDInfo.read(descriptor.rawValue), info.size >= request.size else {
      return nil
    }
    return try DMABufParent(descriptor, of: request.key)
  }

  /// A memfd: for a heap that has no dma-bufs. Its first child is another open file of it.
  ///
  /// - Parameters:
  ///   - descriptor: A memfd that is sealed against shrinking (`F_SEAL_SHRINK`): holders would be ended by SIGBUS where
  ///     another holder made it shorter. It is closed.
  ///   - request: What was asked for.
  ///   - heapName: What ``VMO/heapName`` shows.
  ///   - grant: What ``Admission/admit(_:for:)`` gave for it.
  /// - Throws: ``HeapError/Code/wrongType`` for what is no such memfd, or one that is smaller than the request;
  ///   ``HeapError/Code/noResources`` where the process may open no more files.
  public init(
    memfd descriptor: consuming OwnedFD, for request: borrowing BufferRequest, heapName: String,
    grant: consuming Admission.Grant
  ) throws(HeapError) {
    var parent: MemfdParent?
    do throws(Errno) {
      if let (kind, size, canShrink, _) = try VMO.examine(descriptor), kind == .memfd, !canShrink,
        size >= request.size
      {
        parent = try MemfdParent(reopening: descriptor, .memfd)
      }
    } catch {
      throw HeapError(error, request.operation)
    }
    // Its pages are taken at first use, when the request was admitted long ago.
    var grant = grant
    if let parent { grant.watch(parent) }
    // Before the first child: this open file is none.
    _ = consume descriptor
    try self.init(
      parent, for: request, heapName: heapName, grant: grant, "memfd sealed against shrinking")
  }

  private init(
    _ parent: (any Parent)?, for request: borrowing BufferRequest, heapName: String,
    grant: consuming Admission.Grant, _ kind: String
  ) throws(HeapError) {
    guard let parent else {
      throw HeapError(
        .wrongType, request.operation,
        cause: "heap \(heapName) made no \(kind) of \(request.size.asByteCount)")
    }
    self.init(parent: parent, heapName: heapName, grant: grant)
  }
}

// For a server, which has a table of its own.

extension BufferMemory {
  /// The kernel has given the memory; whoever takes the charge ends it once, when the parent is closed.
  package consuming func settled() -> Admission.Charge { grant.settled() }

  /// Of a buffer whose parent another process kept, e.g. a server before this one.
  ///
  /// - Parameter descriptor: Of the parent's own open file.
  /// - Returns: With its size in bytes.
  /// - Throws: ``HeapError/Code/wrongType`` for what is neither a dma-buf nor a memfd.
  package static func inherited(
    _ descriptor: consuming OwnedFD, _ key: BufferKey
  ) throws(HeapError) -> (parent: any Parent, byteCount: UInt64, charge: Admission.Charge) {
    let operation = "take over buffer \(key.bufferIndex) of collection \(key.bufferCollectionID)"
    // Of clients' (``DMABufParent``).
    CLinuxHeaps_remove_locks(descriptor.rawValue)
    do throws(Errno) {
      if let (kind, size, _, _) = try VMO.examine(descriptor), size > 0 {
        let parent: any Parent =
          if kind == .dmaBuf {
            try DMABufParent(descriptor, of: key)
          } else {
            try MemfdParent(inherited: descriptor, kind: kind)
          }
        return (parent, size, Admission.standard.take(kind == .opaque ? 0 : size))
      }
    } catch {
      throw HeapError(error, operation)
    }
    throw HeapError(.wrongType, operation, cause: "it is neither a dma-buf nor a memfd with a size")
  }
}
