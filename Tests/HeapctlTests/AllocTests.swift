import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

@Suite struct AllocTests {
  @Test(arguments: ["0", "", "x", "-1", "1.3K", "99999999999999999999", "99999999999G", "+1"])
  func `a size that is none is wrong usage`(_ size: String) throws {
    let run = try Run.heapctl("alloc", "--size", size)
    #expect(run.status == 64)
    #expect(run.output == "")
    #expect(run.error.contains("--size"))
    if size == "0" { #expect(run.error.contains("--size 0: a buffer has at least 1 byte")) }
  }

  @Test(arguments: [
    ("1", 4096), ("4096", 4096), ("64K", 65_536), ("8m", 8 << 20), ("1G", 1 << 30),
    ("8 MiB", 8 << 20),
  ])
  func `sizes take units`(_ size: String, _ bytes: UInt64) throws {
    let run = try Run.heapctl("alloc", "--size", size, "--heap", "opaque", "--json")
    #expect(run.status == 0)
    let buffer = try #require(try run.json["buffer"] as? [String: Any])
    #expect(buffer["sizeBytes"] as? UInt64 == max(bytes, pageSize))
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to become another user"))
  func `where no thread can be started the limit is named`() throws {
    let user = Prefix.nobody + " prlimit --nproc=1"
    let run = try Run.heapctl(
      "alloc", "--size", "1M", "--heap", "memfd", through: Prefix.namespace("", as: user))
    #expect(run.status == 1)
    #expect(run.error.contains("--nproc="), "\(run.error)")
  }

  @Test(arguments: ["alloc --size 1M", "verify", "bench --rounds 1"])
  func `a heap's path is its name`(_ words: String) throws {
    let words = words.split(separator: " ").map(String.init) + ["--heap"]
    let named = try Run.heapctl(words + ["nosuch"])
    #expect(named.status == 69)
    #expect(try Run.heapctl(words + ["/dev/dma_heap/nosuch"]) == named)
  }

  @Test func `so is the path of udmabuf's device`() throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--heap", "/dev/udmabuf")
    #expect(run.status == (UDMABufHeap.isUsable ? 0 : 69))
    #expect(run.output.contains("1 MiB of udmabuf") == UDMABufHeap.isUsable)
    #expect(!run.error.contains("node of /dev/dma_heap"))
  }

  @Test(.enabled(if: TestHeaps.names.contains("system"), "needs the system heap"))
  func `so is a link to it`() throws {
    let folder = try TemporaryFolder()
    let link = folder.path + "/link"
    try FileManager.default.createSymbolicLink(
      atPath: link, withDestinationPath: "/dev/dma_heap/system")
    for path in [link, "/dev/dma_heap/system"] {
      let run = try Run.heapctl("alloc", "--size", "1M", "--heap", path)
      #expect(run.status == 0)
      #expect(run.output.contains("1 MiB of system: a dma-buf"))
    }
  }

  @Test(arguments: TestHeaps.names)
  func `JSON is all that there is on standard output`(_ heap: String) throws {
    let isContiguous = HeapCatalog().heaps().first { $0.name == heap }?.role == .contiguous
    let run = try Run.heapctl(
      ["alloc", "--size", "1M", "--heap", heap, "--json"] + (isContiguous ? ["--contiguous"] : []))
    var json = try run.json
    var buffer = try #require(json["buffer"] as? [String: Any])
    // They change from run to run.
    #expect(try #require(buffer.removeValue(forKey: "inode") as? UInt64) > 0)
    let name = try #require(buffer.removeValue(forKey: "name") as? String)
    #expect(BufferKey(parsing: name)?.bufferIndex == 0)
    json["buffer"] = buffer
    var expected: [String: Any] = [
      "heap": heap, "kind": TestHeaps.kind(of: heap), "sizeBytes": 1 << 20,
      "contiguous": isContiguous,
    ]
    if TestHeaps.dmaBufs.contains(heap) { expected["referenceCount"] = 2 }
    #expect(
      NSDictionary(dictionary: json)
        == NSDictionary(dictionary: [
          "schemaVersion": 1, "kernelRelease": kernelRelease, "buffer": expected,
        ]))
    #expect(run.error == "given back and reclaimed\n")
    #expect(run.status == 0)
  }

  @Test(arguments: TestHeaps.names)
  func `text says the same`(_ heap: String) throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--heap", heap)
    let kind = TestHeaps.kind(of: heap)
    let references = "  references: 2 (the heap's parent, and this process)\n"
    #expect(
      run.output.withoutChangingNumbers() == """
        1 MiB of \(heap): \(kind == "opaque" ? "an opaque vmo" : "a \(kind)"), inode N
          name in the kernel: lh:ID.0

        """ + (kind == "dma-buf" ? references : ""))
    #expect(run.error == "given back and reclaimed\n")
    #expect(run.status == 0)
  }

  @Test(arguments: ["memfd", "udmabuf", "opaque"])
  func `a built-in heap is never contiguous`(_ heap: String) throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--contiguous", "--heap", heap)
    #expect(run.status == 69)
    #expect(
      run.error == """
        heapctl: allocate contiguous memory: the \(heap) heap has none; NOT_SUPPORTED. To fix it: \
        \(HeapRole.contiguousAdvice)

        """)
  }

  @Test func `contiguous memory is of a contiguous heap, or refused`() throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--contiguous")
    let heaps = HeapCatalog().heaps()
    let name =
      heaps.first { $0.role == .contiguous }?.name ?? (HugeHeap.isUsable ? HugeHeap.name : nil)
    if let name {
      #expect(run.output.hasPrefix("1 MiB of \(name): a dma-buf, inode "))
      #expect(run.status == 0)
      return
    }
    #expect(run.status == 69)
    if !heaps.isEmpty { return }
    #expect(
      run.error == """
        heapctl: allocate contiguous memory: the memfd heap has none, and this machine has no \
        /dev/dma_heap; NOT_SUPPORTED. To fix it: \(HeapRole.contiguousAdvice)

        """)
  }

  @Test(arguments: [
    ("no,such@heap", "(/dev/dma_heap/no,such@heap): no such heap"),
    ("../zero", "a heap's name must be a plain file name"),
    ("", "a heap's name must be a plain file name"),
    ("/dev/null", "(/dev/null): it is no node of /dev/dma_heap"),
    ("/dev/dma_heap", "(/dev/dma_heap): it is no node of /dev/dma_heap"),
  ])
  func `a heap that is not there is named`(_ heap: String, _ cause: String) throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--heap", heap)
    #expect(run.status == 69)
    #expect(run.error.contains(cause))
    #expect(run.error.contains("To fix it: use "))
  }

  @Test func `udmabuf makes a dma-buf where it is there, else says what is missing`() throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--heap", "udmabuf")
    if UDMABufHeap.isUsable {
      #expect(run.output.hasPrefix("1 MiB of udmabuf: a dma-buf, inode "))
      #expect(run.status == 0)
    } else {
      #expect(run.error.contains("(/dev/udmabuf): this kernel has no udmabuf device"))
      #expect(run.error.hasSuffix("To fix it: \(KernelModule.udmabuf.fix)\n"), "\(run.error)")
      #expect(run.status == 69)
      #expect(try Run.heapctl("verify", "--heap", "udmabuf").status == 69)
    }
  }

  @Test func `huge pages are contiguous memory, else what is missing is told`() throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--heap", "hugetlb", "--contiguous")
    if HugeHeap.isUsable {
      #expect(run.output.hasPrefix("1 MiB of hugetlb: a dma-buf, inode "))
      #expect(run.status == 0)
    } else {
      let missing = refusal { () throws(HeapError) in try HugeHeap.check("verify heap 'hugetlb'") }
      #expect(run.status == (UDMABufHeap.isUsable ? 1 : 69))
      #expect(try Run.heapctl("verify", "--heap", "hugetlb").error == "heapctl: \(missing!)\n")
    }
  }

  @Test func `too much is refused, and the figures are told`() throws {
    let run = try Run.heapctl("alloc", "--size", "1024G", "--heap", "memfd")
    #expect(run.status == 1)
    #expect(run.error.contains("NO_MEMORY"))
    #expect(run.error.contains("are available, less a floor of"))
  }

  @Test func `a built-in heap is not combined with others`() throws {
    let run = try Run.heapctl("alloc", "--size", "1M", "--heap", "memfd", "--heap", "system")
    #expect(run.status == 64)
  }

  @Test(.enabled(if: UDMABufHeap.isUsable, "needs udmabuf"))
  func `udmabuf serves as the last of a list`() throws {
    let run = try Run.heapctl(
      "alloc", "--size", "1M", "--heap", "nosuch", "--heap", "udmabuf", "--json")
    #expect(run.status == 0, "\(run.error)")
    let buffer = try #require(try run.json["buffer"] as? [String: Any])
    #expect(buffer["heap"] as? String == "udmabuf")
    #expect(buffer["contiguous"] as? Bool == false)
    let first = try Run.heapctl(
      "alloc", "--size", "1M", "--heap", "udmabuf", "--heap", "nosuch")
    #expect(first.status == 64)
    #expect(first.error.contains("--heap udmabuf has to be the last"))
    let contiguous = try Run.heapctl(
      "alloc", "--size", "1M", "--heap", "nosuch", "--heap", "udmabuf", "--contiguous")
    #expect(contiguous.status == 69)
  }

  @Test func `held until the input ends`() throws {
    let input = Pipe()
    try input.fileHandleForWriting.close()
    let run = try Run.heapctl(
      "alloc", "--size", "1M", "--heap", "memfd", "--hold", input: input.fileHandleForReading)
    #expect(run.status == 0)
    #expect(run.error.contains("held by process"))
    #expect(run.error.hasSuffix("given back and reclaimed\n"))
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
  func `held until a signal, while the input is open`(_ signal: CInt) throws {
    let holder = try HoldingProcess("memfd")
    kill(holder.id, signal)
    let deadline = ContinuousClock.now + .seconds(60)
    while ProcessState.isRunning(holder.id), ContinuousClock.now < deadline { usleep(1_000) }
    #expect(!ProcessState.isRunning(holder.id))
    #expect(holder.end() == 0)
  }

  @Test(
    .enabled(if: !HeapCatalog().heaps().isEmpty, "needs /dev/dma_heap"),
    arguments: HeapCatalog().heaps().map(\.name))
  func `a heap that its user may not open says who may`(_ heap: String) throws {
    let entry = try #require(HeapCatalog().heaps().first { $0.name == heap })
    let run = try Run.heapctl(
      "alloc", "--size", "1M", "--heap", heap,
      through: ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    #expect(run.status == 77)
    #expect(run.error.contains("(/dev/dma_heap/\(heap)): the node is \(try #require(entry.node))"))
    #expect(run.error.contains("To fix it:"))
  }
}
