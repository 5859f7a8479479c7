import Foundation
import LinuxHeaps
import SystemPackage
import Testing

@testable import heapctl

@Suite struct WatchFrameTests {
  private static let help = "q quit   ? keys   space pause   < > sort   r reverse"

  @Test func `a whole screen`() {
    let text = """
      board, Acme One, Linux 7.3.4                                            12:34:56
      4 buffers, 9 MiB   memory 1 GiB of 2 GiB available
      contiguous 60 MiB of 64 MiB free
      pressure (% of 10 s, 60 s)   memory some 12.50 3.04, full 0.00 0.10

      HEAP                BUFFERS  BYTES  MOST   FREE    OF      HISTORY
      default_cma_region  1        1 MiB  0 B    60 MiB  64 MiB
      memfd               1        4 KiB  0 B    -       -
      system              2        8 MiB  8 MiB  -       -       ▁▅█

      HEAP                SIZE▼  COUNT  HOLDERS  NAME       HELD BY
      system              8 MiB  6      1        frame      weston 812 (2 fd, 1 map),
                                                            beyond processes 3 (vkms)
      default_cma_region  1 MiB  2      2        -          camera?[2J 1033 (1 fd),
                                                            weston 812 (2 fd, 1 map)
      memfd               4 KiB  -      1        lh:a.0     camera?[2J 1033 (1 fd)
      system              ?      1      0        a name o…  beyond processes 1
      """
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let empty = Array(repeating: "", count: 24 - lines.count - 1)
    #expect(Snapshot.sample().shown() == lines + empty + [Self.help])
  }

  @Test func `a terminal without such characters has the same in ASCII`() {
    let lines = Snapshot.sample().shown(glyphs: .ascii)
    #expect(lines.joined().allSatisfy { $0.isASCII })
    #expect(lines[8] == "system              2        8 MiB  8 MiB  -       -       _=#")
    #expect(lines[10] == "HEAP                SIZEv  COUNT  HOLDERS  NAME       HELD BY")
    #expect(lines[16].contains(" a name o~  "))
  }

  @Test(arguments: [(1, 1), (2, 3), (5, 10), (10, 40), (24, 80), (100, 300)])
  func `every size is filled exactly, and no line is too long`(_ rows: Int, _ columns: Int) {
    for keys in [[], [Key.character("?")]] {
      let lines = Snapshot.sample().shown(rows: rows, columns: columns, keys: keys)
      #expect(lines.count == rows)
      #expect(lines.allSatisfy { $0.displayWidth <= columns })
    }
  }

  @Test func `a wide screen tells the other pressures too, and whole names`() {
    let lines = Snapshot.sample().shown(columns: 160)
    #expect(
      lines[2]
        == "pressure (% of 10 s, 60 s)   memory some 12.50 3.04, full 0.00 0.10   "
        + "io some 12.50 3.04, full 0.00 0.10   cpu some 12.50 3.04")
    #expect(lines.contains { $0.contains(" a name of thirty-one characters  beyond") })
    #expect(
      lines.contains { $0.hasSuffix("  weston 812 (2 fd, 1 map), beyond processes 3 (vkms)") })
  }

  @Test func `a narrow one tells the memory's at least`() {
    let lines = Snapshot.sample().shown(columns: 50)
    #expect(lines.contains("pressure memory some 12.50 3.04, full 0.00 0.10"))
  }

  @Test func `pressure is tinted from one percent on`() throws {
    let line = try #require(Snapshot.sample().pressureLine(80).first)
    #expect(line.pieces.first { $0.text == "some 12.50 3.04" }?.tint == .doubtful)
    #expect(line.pieces.first { $0.text == "full 0.00 0.10" }.map(\.tint) == .some(nil))
  }

  @Test func `a kernel without pressure is named, with what it lacks`() {
    let lines = Snapshot.sample(pressure: .failure(.noSuchFileOrDirectory)).shown()
    #expect(
      lines[3...4] == [
        "this kernel tells no pressure (/proc/pressure/memory: No such file or",
        "directory): it needs CONFIG_PSI, and psi=1 on its command line",
      ])
  }

  @Test func `what is not seen is told above the keys`() {
    let unseen = HoldersReport.Unseen(processes: 2, debugfs: "/sys/x: Permission denied")
    #expect(
      Snapshot.sample(unseen: unseen).shown().suffix(3) == [
        "not seen: 2 processes of other users; not seen: the kernel's own list of",
        "dma-bufs (/sys/x: Permission denied)", Self.help,
      ])
  }

  @Test func `one process is named, also when it has ended`() {
    #expect(
      Snapshot.sample(process: .running(812)).shown()[1]
        == "of process 812: 4 buffers, 9 MiB   memory 1 GiB of 2 GiB available")
    let ended = Snapshot.sample([], process: .ended(812)).shown()
    #expect(ended[1].hasPrefix("process 812 has ended   memory "))
    #expect(ended.contains("no buffers"))
  }

  @Test func `heaps without room are counted, those without buffers first`() {
    let buffers: [HoldersReport.Buffer] = [
      .sample("z", 1, 4096, name: nil), .sample("y", 2, 4096, name: nil),
    ]
    // Three lines have room: `system` had bytes, then by name.
    let lines = Snapshot.sample(buffers).shown(rows: 12)
    #expect(lines[4].hasPrefix("HEAP "))
    #expect(
      lines[5...7].map { $0.prefix { $0 != " " } } == ["default_cma_region", "system", "and"])
    #expect(lines[7] == "and 2 heaps more")
  }

  @Test func `keys scroll over what has no room, and no further`() {
    let buffers = (1...40).map {
      HoldersReport.Buffer.sample("system", UInt64($0), UInt64(100 - $0) << 20, name: "b\($0)")
    }
    func shown(_ keys: Key...) -> (first: String, range: String) {
      let lines = Snapshot.sample(buffers).shown(keys: keys)
      let head = lines.firstIndex { $0.hasSuffix("HELD BY") } ?? 0
      return (
        String(lines[head + 1].split(separator: " ")[5]),
        String(lines[23].drop { $0 != "l" })
      )
    }
    #expect(shown() == ("b1", "lines 1-13 of 40"))
    #expect(shown(.down, .character("j")) == ("b3", "lines 3-15 of 40"))
    #expect(shown(.pageDown) == ("b14", "lines 14-26 of 40"))
    #expect(shown(.end) == ("b28", "lines 28-40 of 40"))
    #expect(shown(.end, .down) == ("b28", "lines 28-40 of 40"))
    #expect(shown(.character("G"), .up) == ("b27", "lines 27-39 of 40"))
    #expect(shown(.pageDown, .pageUp, .up).first == "b1")
    #expect(shown(.end, .home).first == "b1")
  }
}

@Suite struct BufferOrderTests {
  private func inodes(_ order: BufferOrder, reversed: Bool = false) -> [UInt64] {
    order.sorted(Snapshot.sampleBuffers, reversed: reversed).map(\.inode)
  }

  @Test func `figures from the largest, words from A; what is equal keeps its place`() {
    #expect(inodes(.heap) == [12, 13, 11, 14])
    #expect(inodes(.heap, reversed: true) == [11, 14, 13, 12])
    #expect(inodes(.size) == [11, 12, 13, 14])
    #expect(inodes(.size, reversed: true) == [14, 13, 12, 11])
    #expect(inodes(.count) == [11, 12, 14, 13])
    #expect(inodes(.holders) == [12, 11, 13, 14])
    #expect(inodes(.name) == [12, 14, 11, 13])
  }

  @Test func `the columns are a ring`() {
    var order = BufferOrder.heap
    for expected in [BufferOrder.size, .count, .holders, .name, .heap] {
      #expect(order.neighbour(1) == expected)
      #expect(expected.neighbour(-1) == order)
      order = expected
    }
  }
}
