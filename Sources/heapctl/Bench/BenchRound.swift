internal import Glibc
internal import LinuxHeaps

/// One buffer's life, step by step, with the time that each took.
struct BenchRound {
  enum Step: String, CaseIterable {
    case allocate
    case map
    /// Every byte written; a memfd takes its pages here, where a dma-buf has them already.
    case fill
    /// Both calls of `DMA_BUF_IOCTL_SYNC`, with nothing between them; no call for a memfd.
    case sync
    /// From the close of the last mapping to the end of `deleteVmo`.
    case reclaim
  }

  let heap: any LocalHeap
  let settings: SingleBufferSettings
  let size: UInt64

  func run(_ index: UInt64) async throws(HeapError) -> [Step: UInt64] {
    var times: [Step: UInt64] = [:]
    var last = MonotonicTime.now
    func lap() -> UInt64 {
      let now = MonotonicTime.now
      defer { last = now }
      return now.nanoseconds - last.nanoseconds
    }
    let vmo = try heap.allocateVmo(
      size: size, settings: settings, bufferCollectionID: UInt64(getpid()), bufferIndex: index)
    times[.allocate] = lap()
    if vmo.kind == .opaque {
      last = MonotonicTime.now
    } else {
      try Self.use(vmo, &times, lap)
      last = MonotonicTime.now
    }
    try await heap.deleteVmo(
      bufferCollectionID: UInt64(getpid()), bufferIndex: index, vmo: vmo)
    times[.reclaim] = lap()
    return times
  }

  private static func use(
    _ vmo: borrowing VMO, _ times: inout [Step: UInt64], _ lap: () -> UInt64
  ) throws(HeapError) {
    let mapping = try vmo.map()
    times[.map] = lap()
    var access = try mapping.writeAccess()
    fill(&access)
    try access.end()
    times[.fill] = lap()
    try mapping.writeAccess().end()
    times[.sync] = lap()
  }

  private static func fill(_ access: inout CPUAccess<ReadWrite>) {
    var span = access.mutableBytes
    unsafe span.withUnsafeMutableBytes { bytes in
      _ = unsafe memset(bytes.baseAddress!, 0x5a, bytes.count)
    }
  }
}
