import Glibc
import SystemPackage
import TestSupport
import Testing

@testable import HeapSurvey
@testable import LinuxHeaps

@Suite(.serialized) struct BufferIteratorTests {
  private static let hasTypes = unsafe access(BPF.typesPath, R_OK) == 0
  /// A kernel before 6.16 has none; one without BTF cannot be asked.
  private static let hasIterator =
    (try? SmallFile.readAll("/proc/kallsyms"))?.contains(" bpf_iter_dmabuf\n") == true

  /// Of dma-bufs, if this machine has one.
  private static let heapName: String? =
    HeapCatalog().heaps().contains { $0.name == "system" && $0.node?.isUsable == true }
    ? "system" : UDMABufHeap.isUsable ? UDMABufHeap.name : nil

  @Test func `the kernel lists its buffers, or it is said why not`() throws {
    do throws(HeapError) {
      _ = try BufferIterator.read()
      #expect(Self.hasTypes && Self.hasIterator)
    } catch {
      #expect(error.operation == "list dma-bufs by a BPF iterator")
      if !Self.hasTypes {
        #expect(error.path == "/sys/kernel/btf/vmlinux")
        #expect(error.errno == .noSuchFileOrDirectory)
        #expect(error.fix == "a kernel with CONFIG_DEBUG_INFO_BTF")
      } else if geteuid() == 0 {
        #expect(!Self.hasIterator, "\(error)")
        #expect(error.cause == "the kernel has no bpf_iter_dmabuf, which is of Linux 6.16")
      } else {
        #expect(error.errno == .notPermitted || !Self.hasIterator)
      }
    }
  }

  @Test(
    .enabled(
      if: heapName != nil && hasTypes && hasIterator && geteuid() == 0,
      "needs the kernel's iterator of dma-bufs, a heap of them, and root"))
  func `its list is that of debugfs, entry by entry`() throws {
    let heap: any LocalHeap =
      Self.heapName == "system" ? DMABufHeap(heaps: ["system"]) : UDMABufHeap()
    let settings = SingleBufferSettings()
    let first = try heap.allocateVmo(
      size: 1 << 20, settings: settings, bufferCollectionID: 9001, bufferIndex: 0)
    let second = try heap.allocateVmo(
      size: 8192, settings: settings, bufferCollectionID: 9001, bufferIndex: 1)
    let copy = try second.duplicate()
    let iterated = try BufferList.iterate()
    #expect(iterated.source == .bpf)
    // Each with the heap's parent.
    for (vmo, size, count) in [(first.identity, 1 << 20, 2), (second.identity, 8192, 3)] {
      let entry = try #require(iterated.entries.first { $0.inode == vmo.inode })
      #expect(entry.size == UInt64(size))
      #expect(entry.count == count)
      #expect(entry.devices == [])
      #expect(BufferKey(parsing: entry.name ?? "")?.bufferCollectionID == 9001)
    }
    // Of a moment at which nothing else changes.
    func debugfs() throws(Errno) -> [BufferList.Entry] {
      try BufferList.readDebugfs().entries.map {
        var entry = $0
        entry.devices = []
        return entry
      }
    }
    if var before = try? debugfs() {
      var same = false
      while !same {
        let between = try BufferList.iterate().entries
        let after = try debugfs()
        same = before == after
        if same { #expect(between == after) }
        before = after
      }
    }
    _ = consume copy
    _ = consume first
    _ = consume second
    withExtendedLifetime(heap) {}
  }

  @Test func `it leaves no descriptor open`() throws {
    _ = try? BufferIterator.read()
    let before = try ProcessFiles.list(of: getpid())
    for _ in 0..<5 { _ = try? BufferIterator.read() }
    #expect(try ProcessFiles.opened(by: getpid(), since: before) == [])
  }

  @Test func `records are whole or none`() throws {
    let layout = BufferLayout.sample
    var record = [UInt8](repeating: 0, count: BufferRecord.size)
    record[1] = 0x10
    record[Int(BufferRecord.inode)] = 7
    record[Int(BufferRecord.references)] = 3
    record.replaceSubrange(
      Int(BufferRecord.exporter)..<Int(BufferRecord.exporter) + 6, with: "system".utf8)
    let nameless = BufferList.Entry(size: 4096, count: 3, exporter: "system", inode: 7, name: nil)
    #expect(BufferRecord.entries(of: record, layout) == [nameless])
    record.replaceSubrange(Int(BufferRecord.name)..<Int(BufferRecord.name) + 3, with: "a\nb".utf8)
    let entries = try #require(BufferRecord.entries(of: record + record, layout))
    #expect(entries.map(\.name) == ["a\nb", "a\nb"])
    #expect(BufferRecord.entries(of: [], layout) == [])
    #expect(BufferRecord.entries(of: Array(record.dropLast()), layout) == nil)
  }

  @Test func `the program asks for each buffer before it looks into one`() {
    let program = BufferProgram(.sample).instructions
    #expect(program[0] == .load(.r7, .r1, .init(offset: 8, size: 8)))
    // To the two that end it.
    #expect(program[1] == .skipIfZero(.r7, over: Int16(program.count - 4)))
    #expect(program.suffix(2) == [.set(.r0, 0), .exit])
    #expect(program.flatMap(\.bytes).count == 8 * program.count)
  }
}

extension BufferLayout {
  fileprivate static var sample: BufferLayout {
    get {
      var sample = BTFTests.Sample()
      let long: UInt32 = 1
      sample.add(1, named: "long", 8, 64)
      // 2: char, 3: a pointer to it, 4: inode, 5: file, 6: dma_buf, 7: seq_file, 8: bpf_iter_meta.
      sample.add(1, named: "char", 1, 8)
      sample.add(2, 2)
      sample.add(4, named: "inode", count: 1, 64, sample.name("i_ino"), long, 320)
      sample.add(
        4, named: "file", count: 2, 64, sample.name("f_inode"), 9, 256, sample.name("f_ref"), 10, 0)
      sample.add(
        4, named: "dma_buf", count: 4, 64, sample.name("size"), long, 0, sample.name("file"), 11,
        64,
        sample.name("exp_name"), 3, 128, sample.name("name"), 3, 192)
      sample.add(7, named: "seq_file", 0)
      sample.add(4, named: "bpf_iter_meta", count: 1, 8, sample.name("seq"), 12, 0)
      sample.add(2, 4)
      sample.add(4, named: "file_ref", count: 1, 8, sample.name("refcnt"), 13, 0)
      sample.add(2, 5)
      sample.add(2, 7)
      sample.add(4, count: 1, 8, sample.name("counter"), long, 0)
      sample.add(2, 8)
      sample.add(2, 6)
      sample.add(13, count: 2, 0, 0, 14, 0, 15)
      sample.add(12, named: "bpf_iter_dmabuf", 16)
      // swift-format-ignore: NeverUseForceTry
      return try! BufferLayout(BTF(sample.bytes))!
    }
  }
}
