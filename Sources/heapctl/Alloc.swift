internal import ArgumentParser
internal import Glibc
internal import HeapClient
internal import LinuxHeaps

struct Alloc: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Allocates one buffer, reports what the kernel knows about it, and frees it.")

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Bytes, e.g. 4096, 64K, 1.5M or 8MiB; the units are powers of 1024.", valueName: "size"))
  var size: ByteSize

  @Flag(help: "Physically contiguous memory, never replaced by other.")
  var contiguous = false

  @OptionGroup var choice: HeapChoice

  @OptionGroup var service: ServiceChoice

  @Flag(help: "Keep the buffer until standard input ends, or until SIGINT or SIGTERM.")
  var hold = false

  @OptionGroup var output: OutputChoice

  func validate() throws {
    if size.bytes == 0 { throw ValidationError("--size 0: a buffer has at least 1 byte") }
    try service.validate(against: choice)
    if let name = NamedHeap.misplaced(in: choice.names) {
      throw ValidationError("the built-in heap '\(name)' cannot be combined with other heaps")
    }
  }

  func run() async throws {
    let heap = try self.heap()
    let settings = SingleBufferSettings(
      bufferSettings: BufferMemorySettings(
        sizeBytes: size.bytes, isPhysicallyContiguous: contiguous))
    let collection = UInt64(getpid())
    let vmo = try heap.allocateVmo(
      size: size.bytes, settings: settings, bufferCollectionID: collection, bufferIndex: 0)
    let row = Row(
      heap: vmo.heapName ?? "", kind: vmo.kind.rawValue, sizeBytes: vmo.byteCount,
      contiguous: try vmo.isContiguous, name: try vmo.name, inode: vmo.identity.inode,
      referenceCount: try vmo.referenceCount)
    if output.json {
      try showJSON(row, named: "buffer")
    } else {
      row.lines(servedAt: service.socket).forEach(show)
    }
    if hold {
      let end = try SignalPipe()
      tell("held by process \(getpid()); end of input, SIGINT or SIGTERM frees it")
      end.wait(forEndOf: STDIN_FILENO)
    }
    try await heap.deleteVmo(bufferCollectionID: collection, bufferIndex: 0, vmo: vmo)
    tell("given back and reclaimed")
  }

  private func heap() throws -> any Heap {
    if let socket = service.socket { return try RemoteHeap(socket: socket) }
    let isNamed = !choice.names.isEmpty
    // A node that this user may not open has to say so, rather than be passed over.
    let heap =
      isNamed || !HeapCatalog().heaps().isEmpty ? NamedHeap(choice.names) : try NamedHeap()
    let operation =
      contiguous ? "allocate contiguous memory" : "allocate \(size.bytes.asByteCount)"
    // Other memory only where this machine's heaps are not there: closed ones are to be opened.
    if let refusal = contiguous ? heap.refusal(operation) : heap.refusalIfClosed(operation) {
      throw refusal
    }
    if heap.isBuiltIn, contiguous {
      throw HeapError(
        .notSupported, operation,
        cause: "the \(heap.names[0]) heap has none"
          + (isNamed ? "" : ", and this machine has no /dev/dma_heap"),
        fix: HeapRole.contiguousAdvice)
    }
    if heap.isBuiltIn && !isNamed { tell("using \(heap.reason)") }
    return heap.make()
  }

  private struct Row: Encodable {
    let heap: String
    let kind: String
    let sizeBytes: UInt64
    /// Absent where nothing tells.
    let contiguous: Bool?
    let name: String?
    let inode: UInt64
    let referenceCount: Int?

    func lines(servedAt socket: String?) -> [String] {
      let what = kind == VMO.Kind.opaque.rawValue ? "an opaque vmo" : "a \(kind)"
      let place = socket.map { ", served at \($0.visible)" } ?? ""
      var lines = ["\(sizeBytes.asByteCount) of \(heap.visible)\(place): \(what), inode \(inode)"]
      if let name { lines.append("  name in the kernel: \(name.visible)") }
      if let referenceCount {
        lines.append("  references: \(referenceCount) (the heap's parent, and this process)")
      }
      return lines
    }
  }
}
