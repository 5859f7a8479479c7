import LinuxHeaps

/// The dma-bufs that the kernel has, by the names that heaps give them.
enum KernelBuffers {
  /// Nil where debugfs is not for this process to read.
  static func names() -> [BufferKey]? {
    guard let text = try? SmallFile.read("/sys/kernel/debug/dma_buf/bufinfo", limit: 1 << 20)
    else { return nil }
    return text.split { $0.isWhitespace }.compactMap { BufferKey(parsing: String($0)) }
  }

  /// Those of CHeapClient's clients.
  static func ofClients() -> [BufferKey]? {
    names()?.filter { $0.bufferCollectionID >> 48 == 0xfeed }
  }

  static func of(collection: UInt64) -> [BufferKey]? {
    names()?.filter { $0.bufferCollectionID == collection }
  }
}
