internal import ArgumentParser
internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

struct Demo: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the whole life of two buffers shared with a second process.")

  @OptionGroup var color: ColorChoice

  func run() async throws {
    let chosen = try NamedHeap()
    let heap = chosen.make()
    show("heapctl demo on Linux \(kernelRelease)")
    show("Using \(chosen.reason).")
    show("")
    show("1. A contiguous buffer of \(DemoBuffer.size.asByteCount)")
    try await tell(
      DemoBuffer(heap: heap, index: 0, settings: .contiguous), until: .lastChildCloses)
    show("")
    show("2. A non-contiguous buffer of \(DemoBuffer.size.asByteCount)")
    try await tell(
      DemoBuffer(heap: heap, index: 1, settings: SingleBufferSettings()), until: .deletion)
    show("")
    show("Done. Live buffers: \(heap.buffers.count).")
  }

  private func tell(_ buffer: DemoBuffer, until end: DemoBuffer.End) async throws(HeapError) {
    do throws(HeapError) {
      try await buffer.live(until: end)
    } catch  where error.code == .notSupported {
      show("   refused, and not replaced by other memory: \(error)")
    }
  }
}

/// The life of one buffer, told line by line.
struct DemoBuffer {
  enum End {
    /// Nobody deletes it: the partner's mapping is the last child, and its end the buffer's.
    case lastChildCloses
    /// `deleteVmo` takes the last handle, and returns when the buffer is gone.
    case deletion
  }

  static let size: UInt64 = 4 << 20

  let heap: any LocalHeap
  let index: UInt64
  let settings: SingleBufferSettings

  private var key: BufferKey {
    BufferKey(bufferCollectionID: UInt64(getpid()), bufferIndex: index)
  }

  func live(until end: End) async throws(HeapError) {
    let vmo = try heap.allocateVmo(
      size: Self.size, settings: settings, bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex,
      cleanup: [{ show("   clean-up runs: the last child is gone, the memory goes back") }])
    let asked = settings.bufferSettings?.isPhysicallyContiguous == true
    show(
      "   asked with is_physically_contiguous = \(asked); served by \(vmo.heapName ?? "?"): "
        + "a \(vmo.kind.rawValue), inode \(vmo.identity.inode), name \(try vmo.name ?? "?")")
    if asked && vmo.kind != .dmaBuf {
      show(
        "   (a memfd is never contiguous; its heap has one kind of memory and no use for settings)")
    }
    try tell("the heap keeps the parent, this process has the vmo")

    let half = Self.size / 2
    let first = try vmo.slice(offset: 0, byteCount: half)
    let second = try vmo.slice(offset: half, byteCount: half)
    try tell("two slices handed out, \(half.asByteCount) each")

    let partner = try DemoPartner()
    try write("written by process \(getpid())", to: second)
    let (process, read) = try partner.take(second)
    show("   process \(process) got the second slice over a socket and reads: \"\(read)\"")
    let answer = try text(of: vmo.slice(offset: half + pageSize, byteCount: pageSize))
    show("   process \(getpid()) reads in its own handle: \"\(answer)\"")
    // The kernel brackets CPU access by descriptor, so a mapped dma-buf keeps one.
    let syncing = vmo.kind == .dmaBuf ? ", which has a descriptor for syncing" : ""
    try tell("process \(process) has a descriptor and a mapping\(syncing)")

    _ = consume first
    try tell("the first slice is closed here")
    _ = consume second
    try tell("the second slice is closed here")
    switch end {
    case .lastChildCloses:
      _ = consume vmo
      try tell("the vmo is closed here: only process \(process) holds on")
      try partner.closeDescriptor()
      try tell("process \(process) closed its descriptor: only its mapping is left")
      try partner.unmap()
      waitUntilReclaimed()
      show("   reclaimed: process \(process) unmapped the last of it, and nobody called deleteVmo")
    case .deletion:
      try partner.closeDescriptor()
      try partner.unmap()
      try tell("process \(process) let go of all")
      try await heap.deleteVmo(
        bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
      show("   reclaimed: deleteVmo closed the last child and returned when all was gone")
    }
  }

  /// A step, with the kernel's own count behind it.
  private func tell(_ step: String) throws(HeapError) {
    let count = try heap.buffers.referenceCount(of: key)
    show("   \(count.map { "count \($0)" } ?? "live   ") | \(step)")
  }

  private func waitUntilReclaimed() {
    while heap.buffers.count > 0 { usleep(1_000) }
  }
}

/// Puts a text and a NUL at the start of a vmo.
func write(_ text: String, to vmo: borrowing VMO) throws(HeapError) {
  let mapping = try vmo.map()
  var access = try mapping.writeAccess()
  var bytes = access.mutableBytes
  for (offset, byte) in (Array(text.utf8) + [0]).enumerated() {
    bytes.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
  }
}

/// The text at the start of a vmo, up to the NUL.
func text(of vmo: borrowing VMO) throws(HeapError) -> String {
  let bytes = try vmo.copyBytes(0..<Int(min(pageSize, vmo.byteCount)))
  return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
}
