internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// A point in time that a device will reach: an owned sync_file
/// (Documentation/driver-api/sync_file.rst). Once signalled it stays so.
public struct Fence: ~Copyable, Sendable {
  private let fd: OwnedFD

  /// Takes over a sync_file, e.g. the out-fence of an atomic commit. The descriptor is closed when this
  /// throws: ``HeapError/Code/wrongType`` for one of something else.
  public init(adopting descriptor: consuming OwnedFD) throws(HeapError) {
    let operation = "adopt descriptor \(descriptor.rawValue) as a fence"
    do throws(Errno) { _ = try FenceInfo.count(descriptor.rawValue) } catch {
      guard error == .inappropriateIOCTLForDevice || error == .invalidArgument else {
        throw HeapError(error, operation)
      }
      throw HeapError(.wrongType, operation, cause: "it is no sync_file", errno: error)
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
  /// - Parameter limit: Nil waits for ever.
  /// Throws ``HeapError/Code/timedOut`` when it is not by then.
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
    let count = unsafe Glibc.poll(&entry, 1, milliseconds)
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
