internal import ArgumentParser
internal import LinuxHeaps

struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the whole life of two buffers that are shared with a second process.")

  @OptionGroup var color: ColorChoice

  func run() async throws { try await reporting { try await tellAll() } }

  private func tellAll() async throws(HeapError) {
    let chosen = DefaultHeap()
    show("heapctl demo on Linux \(kernelRelease)")
    show("Using \(chosen.reason).")
    show("")
    show("1. A contiguous buffer of \(DemoBuffer.size.asByteCount)")
    try await tell(
      DemoBuffer(heap: chosen.heap, index: 0, settings: .contiguous), until: .lastChildCloses)
    show("")
    show("2. A non-contiguous buffer of \(DemoBuffer.size.asByteCount)")
    try await tell(
      DemoBuffer(heap: chosen.heap, index: 1, settings: SingleBufferSettings()), until: .deletion)
    show("")
    show("Done. Live buffers: \(chosen.heap.buffers.count).")
  }

  private func tell(_ buffer: DemoBuffer, until end: DemoBuffer.End) async throws(HeapError) {
    do throws(HeapError) {
      try await buffer.live(until: end)
    } catch  where error.code == .notSupported {
      show("   refused, and not replaced by other memory: \(error)")
    }
  }
}
