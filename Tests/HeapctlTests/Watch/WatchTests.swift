import Foundation
import LinuxHeaps
import TestSupport
import Testing

/// heapctl on a real terminal, by what stands there.
@Suite struct WatchTests {
  @Test(arguments: TestHeaps.names)
  func `a buffer, its holder and its heap are shown, live`(_ heap: String) throws {
    let holder = try HoldingProcess(heap)
    let terminal = try PseudoTerminal("--pid", "\(holder.id)", rows: 30)
    let name = try #require(holder.buffer["name"] as? String)
    try terminal.wait(for: "30 lines") { $0.lines.count == 30 && $0.lines[29].hasPrefix("q quit") }
    let lines = terminal.lines
    #expect(
      try #/heapctl watch on Linux .*, [0-9]{2}:[0-9]{2}:[0-9]{2}/#.wholeMatch(in: lines[0]) != nil)
    #expect(lines[1].hasPrefix("of process \(holder.id): 1 buffer, 1 MiB; memory: "))
    let hasPressure = unsafe access("/proc/pressure/memory", F_OK) == 0
    #expect(
      lines[2].hasPrefix(
        hasPressure ? "pressure (% of 10 s, 60 s): memory some " : "no pressure (/proc/pressure/"))
    #expect(try #/HEAP +BYTES +MOST +HISTORY/#.wholeMatch(in: lines[3]) != nil)
    let figures = lines[4].split(separator: " ")
    #expect(figures.dropLast().joined(separator: " ") == "\(heap) 1 MiB 1 MiB")
    #expect(figures.last?.allSatisfy { $0 == "#" } == true)
    #expect(lines.contains { $0.hasPrefix(heap) && $0.hasSuffix(name) })
    #expect(lines.contains("  process \(holder.id) (heapctl): 2 descriptors, 0 mappings"))

    // The end of the holder is seen, and its heap's bytes are history.
    holder.end()
    try terminal.waitForLine("process \(holder.id) has ended")
    try terminal.waitForLine("no buffers")
    let after = try #require(terminal.lines.first { $0.contains("#_") })
    #expect(after.split(separator: " ").prefix(5) == [Substring(heap), "0", "B", "1", "MiB"])
    try terminal.type("q")
    #expect(terminal.end() == .status(0))
  }

  @Test func `keys sort, scroll and pause`() throws {
    let heap = MemfdHeap()
    var vmos: [ReturnedBuffer] = []
    for (index, size) in [1, 3, 2].enumerated() {
      vmos.append(
        ReturnedBuffer(
          try heap.allocateVmo(
            size: UInt64(size) << 20, settings: SingleBufferSettings(), bufferCollectionID: 771,
            bufferIndex: UInt64(index))))
    }
    let names = try vmos.map { try $0.vmo.name ?? "" }
    let terminal = try PseudoTerminal("--pid", "\(getpid())", "--sort", "name")
    func expect(_ order: [Int], by figure: String) throws {
      try terminal.wait(for: "\(order) by \(figure)") { terminal in
        let shown = terminal.lines.compactMap { line in
          names.firstIndex { line.hasSuffix(" \($0)") }
        }
        return shown == order && terminal.lines.last?.contains("(by \(figure))") == true
      }
    }
    try expect([0, 1, 2], by: "name")
    try terminal.type("s")
    try expect([1, 2, 0], by: "heap")
    try terminal.type(" ")
    try terminal.waitForLine("PAUSED")
    // Below the three lines of the head.
    func expectTop(_ prefix: String) throws {
      try terminal.wait(for: prefix) { $0.lines.count == 6 && $0.lines[3].hasPrefix(prefix) }
    }
    try terminal.resize(rows: 6, columns: 120)
    try expectTop("HEAP")
    try terminal.type("\u{1b}[B")
    try expectTop("memfd ")
    try terminal.type("\u{1b}[6~\u{1b}[5~k")
    try expectTop("HEAP")
    try terminal.type("q")
    #expect(terminal.end() == .status(0))
    withExtendedLifetime((heap, vmos)) {}
  }

  @Test func `every size is filled exactly, and no line is too long`() throws {
    let terminal = try PseudoTerminal("--interval", "3600", rows: 30, columns: 110)
    try terminal.wait(for: "30 lines") { $0.lines.count == 30 && $0.lines[29].hasPrefix("q quit") }
    for (rows, columns) in [(12, 50), (40, 200), (6, 20), (2, 3), (1, 1), (24, 80)] {
      try terminal.resize(rows: rows, columns: columns)
      let last = "q quit   space pause   s sort (by size)   arrows, PgUp, PgDn scroll".prefix(
        columns)
      try terminal.wait(for: "\(rows) by \(columns)") {
        $0.lines.count == rows && $0.lines[rows - 1] == last
          && $0.lines.allSatisfy { $0.count <= columns }
      }
    }
    try terminal.type("q")
    #expect(terminal.end() == .status(0))
  }

  @Test func `what other programs call themselves does not move the cursor`() throws {
    let own = try String(contentsOfFile: "/proc/self/comm", encoding: .utf8)
    try #"名\#u{1b}[2J\#u{9b}m"#.write(toFile: "/proc/self/comm", atomically: false, encoding: .utf8)
    defer { try? own.write(toFile: "/proc/self/comm", atomically: false, encoding: .utf8) }
    let heap = MemfdHeap()
    let vmo = try heap.allocateVmo(
      size: 5 << 20, settings: SingleBufferSettings(), bufferCollectionID: 772, bufferIndex: 0)
    let terminal = try PseudoTerminal("--pid", "\(getpid())")
    try terminal.waitForLine(#"process \#(getpid()) (?\u{1B}[2J\u{9B}m): 2 descriptors"#)
    try terminal.wait(for: "a whole picture") { $0.lines.count == 40 }
    #expect(terminal.lines.allSatisfy { $0.utf8.allSatisfy { (0x20..<0x7f).contains($0) } })
    try terminal.type("q")
    #expect(terminal.end() == .status(0))
    _ = consume vmo
    withExtendedLifetime(heap) {}
  }

  @Test(
    arguments: [
      ("heapctl watch | cat", "standard output is not a terminal"),
      ("TERM=dumb heapctl watch", "the terminal cannot move its cursor (TERM=dumb)"),
      ("heapctl watch < /dev/null", "standard input is not a terminal, so no key can come from it"),
    ])
  func `a terminal that is not enough is refused`(_ command: String, _ cause: String) throws {
    let command = command.replacing("watch", with: "watch --color never")
      .replacing("heapctl", with: try Program.path("heapctl"))
    let terminal = try PseudoTerminal(
      program: ["/bin/bash", "-c", "set -o pipefail; \(command)"], columns: 200)
    #expect(terminal.end() == .status(64))
    #expect(
      terminal.text == "heapctl: watch the buffers: \(cause). To fix it: run it in a terminal, "
        + "or print them once: heapctl holders\n")
  }

  @Test(
    arguments: [
      ["--interval", "0"], ["--interval", "-1"], ["--interval", "nan"], ["--interval", "soon"],
      ["--sort", "colour"], ["--pid", "x"],
    ])
  func `wrong usage is told`(_ words: [String]) throws {
    let run = try Run.heapctl(["watch"] + words)
    #expect(run.status == 64)
    #expect(run.error.contains(words[0]))
    #expect(run.output == "")
  }

  @Test func `a process that is not there is named`() throws {
    let terminal = try PseudoTerminal("--pid", "4194305", "--color", "never")
    #expect(terminal.end() == .status(69))
    #expect(
      terminal.text
        == "heapctl: inspect process 4194305 (/proc/4194305): no such process; NOT_FOUND. "
        + "To fix it: heapctl holders lists all that hold a buffer\n")
  }
}

/// In an array, which holds no noncopyable value.
private final class ReturnedBuffer {
  let vmo: VMO
  init(_ vmo: consuming VMO) { self.vmo = vmo }
}
