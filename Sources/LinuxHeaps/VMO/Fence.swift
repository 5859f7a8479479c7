internal import CLibrary
internal import CLinuxHeaps
public import SystemPackage

/// A point in time that a device will reach: an owned sync_file
/// (Documentation/driver-api/sync_file.rst). Once signalled it stays so.
public struct Fence: ~Copyable, Sendable {
  private let fd: OwnedFD

  /// Takes over a sync_file, e.g. the out-fence of an atomic commit.
  ///
  /// - Throws: ``HeapError/Code/wrongType`` for a descriptor of something else. The descriptor is closed.
  public init(adopting descriptor: consuming OwnedFD) throws(HeapError) {
    do throws(Errno) { _ = try FenceInfo.count(descriptor.rawValue) } catch {
      let operation = "adopt descriptor \(descriptor.rawValue) as a fence"
      guard error == .inappropriateIOCTLForDevice || error == .invalidArgument else {
        throw HeapError(error, operation)
      }
      throw HeapError(.wrongType, operation, cause: "it is not a sync_file", errno: error)
    }
    fd = descriptor
  }

  /// What the kernel itself gave out as one.
  package init(made descriptor: consuming OwnedFD) { fd = descriptor }

  /// Whether everything that it stands for is done, or has failed.
  public borrowing func isSignalled() throws(HeapError) -> Bool {
    try poll(milliseconds: 0, "ask a fence")
  }

  /// Waits until it is signalled.
  ///
  /// - Parameter limit: Nil waits without a limit.
  /// - Throws: ``HeapError/Code/timedOut`` when it is not signalled by then.
  public borrowing func wait(for limit: Duration? = nil) throws(HeapError) {
    let operation = "wait for a fence"
    let deadline = limit.map { MonotonicTime.now.advanced(by: $0) }
    repeat {
      if try poll(milliseconds: deadline?.millisecondsFromNow ?? -1, operation) { return }
    } while deadline.map { $0 > .now } ?? true
    throw HeapError(
      .timedOut, operation, cause: "not signalled after \(limit.map { "\($0)" } ?? "-")")
  }

  private borrowing func poll(
    milliseconds: CInt, _ operation: String
  ) throws(HeapError) -> Bool {
    var entry = pollfd(fd: fd.rawValue, events: Int16(POLLIN), revents: 0)
    let count = unsafe CLibrary.poll(&entry, 1, milliseconds)
    // A signal ends the turn, not the wait: the caller counts the rest anew.
    guard count >= 0 || errno == EINTR else { throw HeapError(Errno(rawValue: errno), operation) }
    return count > 0
  }

  /// A fence that is signalled when this one and the other are.
  ///
  /// - Parameters:
  ///   - other: Stays what it is.
  ///   - name: Shown by the kernel where it lists fences; cut at 31 bytes.
  public borrowing func merged(
    with other: borrowing Fence, name: String = "merged"
  ) throws(HeapError) -> Fence {
    let (first, second) = (fd.rawValue, other.fd.rawValue)
    return Fence(
      made: try attempt("merge two fences") { () throws(Errno) in
        OwnedFD(adopting: try call { unsafe CLinuxHeaps_merge_fences(first, second, name) })
      })
  }

  /// What it is made of, and how far that is.
  public borrowing func info() throws(HeapError) -> FenceInfo {
    let number = fd.rawValue
    return try attempt("ask a fence") { () throws(Errno) in try FenceInfo(number) }
  }

  public borrowing func duplicate() throws(HeapError) -> Fence {
    do throws(Errno) { return Fence(made: try fd.duplicate()) } catch {
      throw HeapError(error, "duplicate a fence")
    }
  }

  /// Lends the descriptor, e.g. to an atomic commit or to poll(2): readable when signalled.
  public borrowing func withDescriptor<Result: ~Copyable, Failure: Error>(
    _ body: (CInt) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(fd.rawValue)
  }

  /// Gives up the descriptor.
  public consuming func releaseDescriptor() -> OwnedFD { fd }
}

/// What a fence is made of (`SYNC_IOC_FILE_INFO`, linux/sync_file.h).
public struct FenceInfo: Hashable, Sendable {
  public enum State: Hashable, Sendable {
    case active
    case signalled
    /// The device gave up.
    case failed(Errno)
  }

  /// One device's part of it.
  public struct Point: Hashable, Sendable {
    /// E.g. `vkms` or `sw_sync`.
    public let driver: String
    public let timeline: String
    public let state: State
    /// When it was signalled, on the monotonic clock; 0 before.
    public let nanoseconds: UInt64
  }

  public let name: String
  public let state: State
  /// The kernel leaves out those that were signalled when fences were merged.
  public let points: [Point]

  fileprivate static func count(_ fence: CInt) throws(Errno) -> UInt32 {
    var information = sync_file_info()
    _ = try call { unsafe CLinuxHeaps_fence_info(fence, &information, nil, 0) }
    return information.num_fences
  }

  fileprivate init(_ fence: CInt) throws(Errno) {
    // The number of a sync_file's points never changes.
    var points = [sync_fence_info](repeating: sync_fence_info(), count: Int(try Self.count(fence)))
    var information = sync_file_info()
    let capacity = UInt32(points.count)
    _ = try call { unsafe CLinuxHeaps_fence_info(fence, &information, &points, capacity) }
    name = Self.text(information.name)
    state = State(information.status)
    self.points = points.map {
      Point(
        driver: Self.text($0.driver_name), timeline: Self.text($0.obj_name),
        state: State($0.status), nanoseconds: $0.timestamp_ns)
    }
  }

  /// A name in a field of fixed size, which ends at its NUL.
  private static func text<Field: BitwiseCopyable>(_ field: Field) -> String {
    unsafe withUnsafeBytes(of: field) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

extension FenceInfo.State {
  fileprivate init(_ status: Int32) {
    self = status == 0 ? .active : status > 0 ? .signalled : .failed(Errno(rawValue: -status))
  }
}

/// What a device, or who waits for one, does with a buffer.
public enum BufferUse: Sendable {
  case reading
  case writing

  fileprivate var flags: UInt32 {
    switch self {
    case .reading: UInt32(DMA_BUF_SYNC_READ)
    case .writing: UInt32(DMA_BUF_SYNC_WRITE)
    }
  }
}

extension VMO {
  /// What has to be waited for before the buffer is used so: who reads waits for writers, who writes
  /// for writers and readers (`DMA_BUF_IOCTL_EXPORT_SYNC_FILE`, Linux 6.0).
  ///
  /// It covers what is under way now; a fence that comes later is not in it.
  ///
  /// - Throws: ``HeapError/Code/notSupported`` for memory that is no dma-buf.
  public borrowing func fence(before use: BufferUse) throws(HeapError) -> Fence {
    let operation = "export the fences of a"
    let number = try fencedDescriptor(operation)
    do throws(Errno) {
      return Fence(
        made: OwnedFD(adopting: try call { CLinuxHeaps_export_fence(number, use.flags) }))
    } catch {
      throw Self.fenceError(error, operation)
    }
  }

  /// Makes whoever uses the buffer from now on wait for `fence`, as for a device that uses it so
  /// (`DMA_BUF_IOCTL_IMPORT_SYNC_FILE`, Linux 6.0). The buffer keeps a reference of its own.
  ///
  /// - Throws: ``HeapError/Code/notSupported`` for memory that is no dma-buf.
  public borrowing func add(_ fence: borrowing Fence, for use: BufferUse) throws(HeapError) {
    let operation = "import a fence into a"
    let number = try fencedDescriptor(operation)
    do throws(Errno) {
      try fence.withDescriptor { fence throws(Errno) in
        _ = try call { CLinuxHeaps_import_fence(number, use.flags, fence) }
      }
    } catch {
      throw Self.fenceError(error, operation)
    }
  }

  private borrowing func fencedDescriptor(_ operation: String) throws(HeapError) -> CInt {
    guard kind == .dmaBuf else {
      throw HeapError(
        .notSupported, "\(operation) \(kind.rawValue)", cause: "only a dma-buf has fences",
        fix: "use a heap of /dev/dma_heap, or udmabuf")
    }
    return fd.rawValue
  }

  private static func fenceError(_ error: Errno, _ operation: String) -> HeapError {
    let operation = "\(operation) dma-buf"
    guard error == .inappropriateIOCTLForDevice else { return HeapError(error, operation) }
    return HeapError(
      .notSupported, operation, cause: "this kernel, \(kernelRelease), has no such request",
      errno: error, fix: "use Linux 6.0 or later")
  }
}
