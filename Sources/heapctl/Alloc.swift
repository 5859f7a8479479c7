internal import ArgumentParser
internal import CLibrary
internal import HeapClient
internal import HeapFiles
internal import LinuxHeaps
internal import SystemPackage

struct Alloc: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Allocates one buffer, reports what the kernel knows about it, and frees it.")

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Bytes, e.g. 4096, 64K, 1.5M or 8MiB; the units are powers of 1024.", valueName: "size"))
  var size: ByteSize

  @OptionGroup var buffer: BufferChoice

  func validate() throws {
    if size.bytes == 0 { throw ValidationError("--size 0: a buffer has at least 1 byte") }
  }

  func run() async throws { try await buffer.run(size.bytes, of: buffer.heap(for: size.bytes)) }
}

struct Load: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Loads a file into a buffer, past the page cache, and reports as alloc does.",
    discussion: """
      Without --heap, --contiguous or --socket into a udmabuf, to whose pages the disk writes. Memory of the kernel's heaps and of a \
      service gets a copy of what was read.
      """)

  @Argument(
    help: ArgumentHelp("A file, or a block device.", valueName: "file"), completion: .file())
  var file: String

  @OptionGroup var buffer: BufferChoice

  func run() async throws {
    let source = try FileSource(FilePath(file))
    let isFree = buffer.choice.names.isEmpty && !buffer.contiguous && buffer.service.socket == nil
    let size = source.byteCount
    let heap: any Heap = try isFree && UDMABufHeap.isUsable ? UDMABufHeap() : buffer.heap(for: size)
    try await buffer.run(size, of: heap, loading: source)
  }
}

/// Which buffer, and what becomes of it.
struct BufferChoice: ParsableArguments {
  @Flag(help: "Physically contiguous memory, never replaced by other.")
  var contiguous = false

  @OptionGroup var choice: HeapChoice

  @OptionGroup var service: ServiceChoice

  @Flag(help: "Keep the buffer until standard input ends, or until SIGINT or SIGTERM.")
  var hold = false

  @OptionGroup var output: OutputChoice

  func validate() throws {
    try service.validate(against: choice)
    if let fault = NamedHeap.misplacement(in: choice.names) { throw ValidationError(fault) }
  }

  func run(_ size: UInt64, of heap: any Heap, loading source: FileSource? = nil) async throws {
    let settings = SingleBufferSettings(
      bufferSettings: BufferMemorySettings(
        sizeBytes: size, isPhysicallyContiguous: contiguous))
    let collection = UInt64(getpid())
    let vmo = try heap.allocateVmo(
      size: size, settings: settings, bufferCollectionID: collection, bufferIndex: 0)
    let row = Row(
      heap: vmo.heapName ?? "", kind: vmo.kind.rawValue, sizeBytes: vmo.byteCount,
      contiguous: try vmo.isContiguous, name: try vmo.name, inode: vmo.identity.inode,
      referenceCount: try vmo.referenceCount, load: try source.map { try Loaded($0, into: vmo) })
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

  func heap(for size: UInt64) throws -> any Heap {
    if let socket = service.socket { return try RemoteHeap(socket: socket) }
    let isNamed = !choice.names.isEmpty
    // A node that this user may not open has to say so, rather than be passed over.
    let heap =
      isNamed || !HeapCatalog().heaps().isEmpty || contiguous && HugeHeap.isUsable
      ? NamedHeap(choice.names) : try NamedHeap()
    let operation =
      contiguous ? "allocate contiguous memory" : "allocate \(size.asByteCount)"
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

  /// A file that was loaded, and how.
  struct Loaded: Encodable {
    let file: String
    let bytes: UInt64
    /// As ``FileLoad/Way`` has it.
    let way: String
    let pageCacheBytes: UInt64
    /// Why the page cache was used.
    let refusal: String?
    let bytesPerSecond: UInt64

    init(_ source: FileSource, into vmo: borrowing VMO) throws {
      let start = MonotonicTime.now
      let load = try source.load(into: vmo)
      let nanoseconds = MonotonicTime.now.nanoseconds - start.nanoseconds
      file = source.path.string
      bytes = source.byteCount
      way = load.way.rawValue
      pageCacheBytes = load.bytesThroughPageCache
      refusal = load.refusal?.description
      bytesPerSecond = UInt64(Double(bytes) * 1e9 / Double(max(nanoseconds, 1)))
    }

    var line: String {
      let how =
        switch way {
        case "direct": "past the page cache, without a copy"
        case "copied": "past the page cache, with a copy"
        default: "\(pageCacheBytes) of them through the page cache (\(refusal ?? "")), with a copy"
        }
      return "  loaded: \(bytes) bytes of \(file.visible), \(how), \(bytesPerSecond.asByteCount)/s"
    }
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
    let load: Loaded?

    func lines(servedAt socket: String?) -> [String] {
      let what = kind == VMO.Kind.opaque.rawValue ? "an opaque vmo" : "a \(kind)"
      let place = socket.map { ", served at \($0.visible)" } ?? ""
      var lines = ["\(sizeBytes.asByteCount) of \(heap.visible)\(place): \(what), inode \(inode)"]
      if let name { lines.append("  name in the kernel: \(name.visible)") }
      if let referenceCount {
        lines.append("  references: \(referenceCount) (the heap's parent, and this process)")
      }
      if let load { lines.append(load.line) }
      return lines
    }
  }
}
