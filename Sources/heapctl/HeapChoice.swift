internal import ArgumentParser
internal import HeapTestKit
internal import LinuxHeaps

/// The heaps that a command works on.
struct HeapChoice: ParsableArguments {
  @Option(
    name: .customLong("heap"),
    help: ArgumentHelp(
      "A heap by its whole name or path, or a built-in one: memfd, udmabuf, hugetlb, opaque. May be repeated.",
      valueName: "name"), completion: .heaps, transform: NamedHeap.name)
  var names: [String] = []

  /// A heap of its own, and what to ask of it.
  struct Chosen {
    let name: String
    let heap: any LocalHeap
    let settings: SingleBufferSettings
    /// Bytes of its contiguous region, where it has one.
    let capacity: UInt64?
  }

  /// Those that were named, else every usable one whose memory the processor reaches. That a heap is there
  /// shows when it is asked for memory.
  func heaps() -> [Chosen] {
    let entries = HeapCatalog().heaps()
    let usable = entries.filter { $0.isUsable && $0.role != .protected }
    let names =
      self.names.isEmpty
      ? usable.map(\.name) + (UDMABufHeap.isUsable ? [UDMABufHeap.name] : []) + [MemfdHeap.name]
      : self.names
    return names.map { name in
      let entry = entries.first { $0.name == name && $0.role == .contiguous }
      let isHuge = name == HugeHeap.name
      return Chosen(
        name: name, heap: NamedHeap([name]).make(),
        settings: entry == nil && !isHuge ? SingleBufferSettings() : .contiguous,
        // A buffer has no more than one page.
        capacity: isHuge
          ? HugePageSize.all().last { $0.total > 0 }?.bytes : entry?.capacity)
    }
  }

  /// Those that were named, to be checked, else all. Throws where one that was named cannot be used.
  func heapsUnderTest() throws(HeapError) -> [HeapUnderTest] {
    if names.isEmpty { return HeapUnderTest.all() }
    let entries = HeapCatalog().heaps()
    var heaps: [HeapUnderTest] = []
    for name in names {
      try NamedHeap([name]).check("verify")
      let builtIn = [HeapUnderTest.udmabuf, .hugetlb, .memfd, .opaque].first { $0.name == name }
      let role = entries.first { $0.name == name }?.role ?? .other
      heaps.append(builtIn ?? .dmaHeap(name, role: role))
    }
    return heaps
  }
}

/// The service to ask in place of this machine's own heaps.
struct ServiceChoice: ParsableArguments {
  @Option(
    help: ArgumentHelp("Ask the heap service (heapd) at this socket.", valueName: "path"),
    completion: .file())
  var socket: String?

  func validate(against choice: HeapChoice) throws {
    if socket != nil && !choice.names.isEmpty {
      throw ValidationError(
        "--heap cannot be combined with --socket: the service has its own heap")
    }
  }

  /// One for each kind of memory that the service has; nil where none was named.
  func heapsUnderTest() async throws(HeapError) -> [HeapUnderTest]? {
    guard let socket else { return nil }
    let plain = try await HeapUnderTest.service(SingleBufferSettings(), socket: socket)
    guard plain.kind == .dmaBuf else { return [plain] }
    do throws(HeapError) {
      return [plain, try await .service(.contiguous, socket: socket)]
    } catch  where error.code == .notSupported {
      return [plain]
    }
  }
}

/// A size as a person writes it: `4096`, `64K`, `1.5M`, `8 MiB`; the units are powers of 1024.
struct ByteSize: ExpressibleByArgument {
  let bytes: UInt64

  init?(argument: String) {
    // 0 is a size as well, to be refused with a reason.
    guard let bytes = UInt64(byteSize: argument) ?? (argument == "0" ? 0 : nil) else { return nil }
    self.bytes = bytes
  }
}

// What served, told by the buffer and not by the request.

extension VMO {
  /// Nil where neither the exporter's name nor the heap's tells. The exporter's comes first: a node of /dev/dma_heap can be
  /// a link to another.
  var isContiguous: Bool? {
    get throws(HeapError) {
      if heapName == HugeHeap.name {
        // Larger ones may lie in several pages.
        let sizes = HugePageSize.all().filter { $0.total > 0 }.map(\.bytes)
        return byteCount <= sizes.first ?? 0 ? true : byteCount > sizes.last ?? .max ? false : nil
      }
      guard let exporter = try exporterName, exporter != UDMABufHeap.name else { return false }
      for name in [exporter, heapName ?? exporter] {
        switch HeapCatalog().role(named: name) {
        case .contiguous: return true
        case .system: return false
        case .protected, .other: continue
        }
      }
      return nil
    }
  }
}

// What a shell offers: of the machine on which it is asked.

extension CompletionKind {
  static var heaps: Self {
    .shellCommand("ls /dev/dma_heap 2>/dev/null; printf '%s\\n' memfd udmabuf hugetlb opaque")
  }

  static var displays: Self { .shellCommand("ls /dev/dri/card* 2>/dev/null") }
  static var cameras: Self { .shellCommand("ls /dev/video* 2>/dev/null") }
}
