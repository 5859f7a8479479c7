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

  /// Writes zeros, within the brackets of CPU access: after them devices read the same.
  static func zero(_ descriptor: CInt, _ byteCount: UInt64) throws(Errno) {
    let length = Int(byteCount)
    let bytes = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
    guard let bytes = unsafe bytes, unsafe bytes != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    // A mapping counts as a holder.
    defer { unsafe munmap(bytes, length) }
    let access = UInt64(DMA_BUF_SYNC_READ) | UInt64(DMA_BUF_SYNC_WRITE)
    try DMABuf.sync(descriptor, access | UInt64(DMA_BUF_SYNC_START))
    unsafe memset(bytes, 0, length)
    try DMABuf.sync(descriptor, access | UInt64(DMA_BUF_SYNC_END))
  }
}
