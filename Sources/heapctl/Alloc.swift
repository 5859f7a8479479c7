internal import ArgumentParser
internal import Glibc
internal import HeapClient
internal import LinuxHeaps

struct Alloc: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Allocates one buffer, tells what the kernel says of it, and gives it back.")

  @Option(help: ArgumentHelp("Bytes; K, M and G are powers of 1024.", valueName: "size"))
  var size: ByteSize

  @Flag(help: "Physically contiguous memory, never replaced by other.")
  var contiguous = false

  @OptionGroup var choice: HeapChoice

  @OptionGroup var service: ServiceChoice

  @Flag(help: "Keep the buffer until standard input ends, or until SIGINT or SIGTERM.")
  var hold = false

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  struct Row: Encodable {
    let heap: String
    let kind: String
    let sizeBytes: UInt64
    let contiguous: Bool
    let name: String?
    let inode: UInt64
    let referenceCount: Int?
  }

  func validate() throws {
    try service.validate(against: choice)
    if choice.names.count > 1,
      let name = choice.names.first(where: { HeapChoice.builtIn[$0] != nil })
    {
      throw ValidationError("the built-in heap '\(name)' stands alone, not in a list of heaps")
    }
  }

  func run() async throws { try await reporting { try await allocate() } }

  private func allocate() async throws {
    let heap = try self.heap()
    let settings = SingleBufferSettings(
      bufferSettings: BufferMemorySettings(
        sizeBytes: size.bytes, isPhysicallyContiguous: contiguous))
    let key = BufferKey(bufferCollectionID: UInt64(getpid()), bufferIndex: 0)
    let vmo = try heap.allocateVmo(
      size: size.bytes, settings: settings, bufferCollectionID: key.bufferCollectionID,
      bufferIndex: key.bufferIndex)
    let row = Row(
      heap: vmo.heapName ?? service.socket ?? "", kind: vmo.kind.rawValue, sizeBytes: vmo.byteCount,
      contiguous: contiguous, name: try vmo.name, inode: vmo.identity.inode,
      referenceCount: try vmo.referenceCount)
    if json { try JSONReport(body: row, name: "buffer").show() } else { show(row) }
    if hold {
      let end = try EndSignal()
      tell("held by process \(getpid()); end of input, SIGINT or SIGTERM gives it back")
      end.wait(forEndOf: STDIN_FILENO)
    }
    try await heap.deleteVmo(
      bufferCollectionID: key.bufferCollectionID, bufferIndex: key.bufferIndex, vmo: vmo)
    tell("given back and reclaimed")
  }

  private func heap() throws -> any Heap {
    if let socket = service.socket { return try RemoteHeap(socket: socket) }
    guard let name = choice.names.first else {
      // A node that this user may not open has to say so, rather than be passed over.
      guard HeapCatalog().heaps().isEmpty else { return DMABufHeap() }
      let chosen = DefaultHeap()
      try refuseContiguous(of: MemfdHeap.name, because: ", and this machine has no /dev/dma_heap")
      tell("using \(chosen.reason)")
      return chosen.heap
    }
    guard HeapChoice.builtIn[name] != nil else { return DMABufHeap(heaps: choice.names) }
    try refuseContiguous(of: name, because: "")
    switch name {
    case UDMABufHeap.name: return UDMABufHeap()
    case OpaqueHeap.name: return OpaqueHeap()
    default: return MemfdHeap()
    }
  }

  private func refuseContiguous(of name: String, because reason: String) throws {
    guard contiguous else { return }
    complain(
      "allocate contiguous memory: the \(name) heap has none\(reason). "
        + "To fix it: boot with cma=64M on a kernel with CONFIG_DMABUF_HEAPS_CMA")
    throw Ending.noHeap
  }

  private func show(_ row: Row) {
    let kind = row.kind == VMO.Kind.opaque.rawValue ? "an opaque vmo" : "a \(row.kind)"
    heapctl.show(
      "\(row.sizeBytes.asByteCount) of \(row.heap.printable): \(kind), inode \(row.inode)")
    if let name = row.name { heapctl.show("  name in the kernel: \(name.printable)") }
    if let count = row.referenceCount {
      heapctl.show("  references: \(count) (the heap's parent, and this process)")
    }
  }
}
