internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// The bytes of a dma-buf that is in nobody's hands.
enum Zeroing {
  /// Whether no fence is left that a device or a former holder put on it: poll(2) for writing waits for all of them.
  static func isUnused(_ descriptor: CInt) throws(Errno) -> Bool {
    var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    let count = try call { unsafe CLibrary.poll(&poll, 1, 0) }
    return count == 1 && poll.revents == Int16(POLLOUT)
  }

  /// Whether a page can be taken out of a mapping of it (get_user_pages): by vmsplice(2), as here, or for direct reads and io_uring.
  /// Who took one keeps it when the mapping is gone, and the dma-buf's count does not tell. The heaps of current kernels lend none
  /// (VM_PFNMAP, VM_IO; check_vma_flags in mm/gup.c). A contiguous heap that maps ordinary pages does, as older kernels' did.
  ///
  /// - Throws: Where that cannot be told.
  static func lendsPages(_ descriptor: CInt) throws(Errno) -> Bool {
    let bytes = unsafe try map(descriptor, Int(pageSize))
    // A mapping counts as a holder.
    defer { unsafe munmap(bytes, Int(pageSize)) }
    var ends: [CInt] = [-1, -1]
    _ = try call { unsafe CLinuxHeaps_pipe(&ends) }
    let reading = OwnedFD(adopting: ends[0])
    let writing = OwnedFD(adopting: ends[1])
    // Into a pipe that nobody reads is SIGPIPE.
    defer { withExtendedLifetime(reading) {} }
    do throws(Errno) {
      let number = writing.rawValue
      _ = try call { unsafe CLinuxHeaps_vmsplice(number, bytes, 1) }
      return true
    } catch .badAddress {
      return false
    }
  }

  private static func map(
    _ descriptor: CInt, _ length: Int
  ) throws(Errno) -> UnsafeMutableRawPointer {
    let bytes = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    guard let bytes = unsafe bytes, unsafe bytes != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    return unsafe bytes
  }

  /// Writes zeros, within the brackets of CPU access: after them devices read the same.
  static func zero(_ descriptor: CInt, _ byteCount: UInt64) throws(Errno) {
    let length = Int(byteCount)
    let bytes = unsafe try map(descriptor, length)
    // A mapping counts as a holder.
    defer { unsafe munmap(bytes, length) }
    let access = UInt64(DMA_BUF_SYNC_READ) | UInt64(DMA_BUF_SYNC_WRITE)
    try DMABuf.sync(descriptor, access | UInt64(DMA_BUF_SYNC_START))
    unsafe memset(bytes, 0, length)
    try DMABuf.sync(descriptor, access | UInt64(DMA_BUF_SYNC_END))
  }
}
