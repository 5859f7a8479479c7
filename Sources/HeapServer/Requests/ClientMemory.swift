internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// Memory that a client brings with AllocateVmoFrom: a memfd that it has filled becomes a dma-buf, and nothing of it is mapped,
/// read or written here.
///
/// A page is charged to whoever made it be there, until it is free. So all pages have to have been written before the
/// dma-buf pins them. The client can punch holes meanwhile: what the kernel then makes in their place is charged here. That shows in the file's
/// time of change, which nobody can set, and the memfd is emptied.
enum ClientMemory {
  /// What the status calls their heap, and the manager's store: a server after this one knows by it whom they are charged to.
  static let heapName = "client"

  /// On a worker: another thread of the client's can hold the file's lock for long, and what is swapped out is read in.
  static func make(
    _ request: borrowing BufferRequest, of memfd: borrowing StrangerFD
  ) throws(HeapError) -> BufferMemory {
    let (file, operation) = (memfd.borrowed, request.operation)
    try check(file, request)
    // Before anything that takes the file's lock.
    do throws(HeapError) { _ = try UDMABufHeap.open(operation) } catch {
      throw HeapError(
        .notSupported, operation, at: error.path?.string, cause: error.cause, errno: error.errno,
        fix: error.fix)
    }
    let before = try status(of: file, operation).changeTime
    try checkFilled(file, request)
    // Before Linux 6.13 times are those of the last tick (ktime_get_coarse_real_ts64): what changed within it would not show.
    try waitForTick(after: before, operation)
    try checkFilled(file, request)
    do throws(HeapError) {
      let memory = try UDMABufHeap.makeMemory(for: request, of: file, heapName: heapName)
      if try status(of: file, operation).changeTime == before { return memory }
      empty(file, request.size)
      _ = consume memory
    } catch {
      // It may have made pages before it failed.
      if (try? status(of: file, operation))?.changeTime != before { empty(file, request.size) }
      throw error
    }
    throw HeapError(.badState, operation, cause: "the memory was changed meanwhile")
  }

  /// Whether it is a memfd that its owner can neither shrink nor seal any more. Only memfds have these seals, so that no file system of
  /// the client's is asked for anything.
  private static func check(
    _ file: BorrowedFD, _ request: borrowing BufferRequest
  ) throws(HeapError) {
    let number = file.rawValue
    let wanted = CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_GROW | CLinuxHeaps_F_SEAL_SEAL
    let refused = CLinuxHeaps_F_SEAL_WRITE | CLinuxHeaps_F_SEAL_FUTURE_WRITE
    let seals = CLinuxHeaps_get_seals(number)
    // -1 has all of them.
    guard seals & (wanted | refused) == wanted, CLinuxHeaps_is_shmem(number) else {
      throw HeapError(
        .wrongType, request.operation,
        cause: "the memory is no memfd of single pages sealed against shrinking, growing and seals")
    }
    let status = try status(of: file, request.operation)
    // A dma-buf is writable, whatever the descriptor is (check_memfd_seals, drivers/dma-buf/udmabuf.c).
    guard fcntl(number, F_GETFL) & O_ACCMODE == O_RDWR, status.st_uid == request.owner else {
      throw HeapError(
        .accessDenied, request.operation, cause: "the memory is another user's, or read-only")
    }
    guard UInt64(status.st_size) >= request.size else {
      throw HeapError(.outOfRange, request.operation, cause: "the memory is smaller")
    }
  }

  private static func checkFilled(
    _ file: BorrowedFD, _ request: borrowing BufferRequest
  ) throws(HeapError) {
    guard CLinuxHeaps_first_hole(file.rawValue) >= Int64(request.size) else {
      throw HeapError(
        .badState, request.operation, cause: "the memory has pages that were never written")
    }
  }

  private static func status(
    of file: BorrowedFD, _ operation: String
  ) throws(HeapError) -> stat {
    var status = stat()
    let number = file.rawValue
    _ = try attempt(operation) { () throws(Errno) in try call { unsafe fstat(number, &status) } }
    return status
  }

  private static func waitForTick(after moment: Int64, _ operation: String) throws(HeapError) {
    for _ in 0..<100 {
      var tick = timespec()
      unsafe clock_gettime(CLOCK_REALTIME_COARSE, &tick)
      if tick.nanoseconds > moment { return }
      usleep(500)
    }
    throw HeapError(.badState, operation, cause: "the clock was set back since the memory was made")
  }

  /// Pages that were made here would stay on this process's group as long as the memfd has them.
  private static func empty(_ file: BorrowedFD, _ size: UInt64) {
    _ = CLinuxHeaps_punch_hole(file.rawValue, size)
  }
}

extension stat {
  fileprivate var changeTime: Int64 { st_ctim.nanoseconds }
}

extension timespec {
  fileprivate var nanoseconds: Int64 { Int64(tv_sec) * 1_000_000_000 + Int64(tv_nsec) }
}
