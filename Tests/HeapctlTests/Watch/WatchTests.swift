import Foundation
import LinuxHeaps
import TestSupport
import Testing

/// heapctl on a real terminal, by what stands there.
@Suite struct WatchTests {
  private static func pad(_ text: String, _ count: Int) -> String {
    text.padding(toLength: max(count, text.count), withPad: " ", startingAt: 0)
  }

  @Test(arguments: TestHeaps.names)
  func `a buffer, its holder and its heap are shown`(_ heap: String) throws {
    let holder = try HoldingProcess(heap)
    let terminal = try PseudoTerminal(rows: 30, columns: 110)
    try terminal.start("watch", "--pid", "\(holder.id)")
    let name = try #require(holder.buffer["name"] as? String)
    let isDMABuf = holder.buffer["kind"] as? String == "dma-buf"
    try terminal.waitForLine(" (2 fd)")
    let lines = terminal.screen.lines
    #expect(terminal.screen.isAlternate && !terminal.screen.showsCursor)

    // A clock at the end of the first line, the machine before it.
    #expect(lines[0].contains("Linux \(kernelRelease)"))
    #expect(try #/.* [0-9]{2}:[0-9]{2}:[0-9]{2}/#.wholeMatch(in: lines[0]) != nil)
    #expect(lines[1].hasPrefix("of process \(holder.id): 1 buffer, 1 MiB   memory "))
    if unsafe access("/proc/pressure/memory", F_OK) == 0 {
      #expect(
        try
          #/pressure \(% of 10 s, 60 s\)   memory some \d+\.\d\d \d+\.\d\d, full \d+\.\d\d \d+\.\d\d   io .*/#
          .wholeMatch(in: lines[2]) != nil, "\(lines[2])")
    } else {
      #expect(lines[2].hasPrefix("this kernel tells no pressure (/proc/pressure/memory: No such"))
    }
    let ofHeap = try #require(lines.first { $0.hasPrefix("\(heap) ") && $0.contains("MiB") })
    #expect(ofHeap.hasPrefix("\(Self.pad(heap, 4)) "))
    #expect(
      ofHeap.split(separator: " ").prefix(6).dropFirst() == ["1", "1", "MiB", "1", "MiB"])
    #expect(ofHeap.hasSuffix("█"))

    let head = try #require(lines.firstIndex { $0.contains("HELD BY") })
    let width = max(4, min(heap.count, 20))
    #expect(
      lines[head]
        == "\(Self.pad("HEAP", width))  SIZE▼  COUNT  HOLDERS  \(Self.pad("NAME", name.count))  HELD BY"
    )
    #expect(
      lines[head + 1]
        == "\(Self.pad(heap, width))  1 MiB  \(isDMABuf ? "2" : "-")      1        \(name)  heapctl \(holder.id) (2 fd)"
    )
    #expect(lines[head + 2] == "")
    #expect(lines[29] == "q quit   ? keys   space pause   < > sort   r reverse")

    // Live: the end of the holder is seen, and its heap's bytes are history.
    holder.end()
    try terminal.waitForLine("process \(holder.id) has ended")
    try terminal.waitForLine("no buffers")
    let after = try #require(terminal.screen.lines.first { $0.hasSuffix("█▁") })
    #expect(after.split(separator: " ").prefix(5) == [Substring(heap), "0", "0", "B", "1"])
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))
  }

  @Test func `keys sort, reverse and explain`() throws {
    let small = MemfdHeap()
    let large = OpaqueHeap()
    let first = try small.allocateVmo(
      size: 1 << 20, settings: SingleBufferSettings(), bufferCollectionID: 771, bufferIndex: 0)
    let second = try large.allocateVmo(
      size: 3 << 20, settings: SingleBufferSettings(), bufferCollectionID: 771, bufferIndex: 1)
    let third = try small.allocateVmo(
      size: 2 << 20, settings: SingleBufferSettings(), bufferCollectionID: 771, bufferIndex: 2)
    let names = [try first.name, try second.name, try third.name].map { $0 ?? "" }
    let terminal = try PseudoTerminal(rows: 40, columns: 100)
    try terminal.start("watch", "--pid", "\(getpid())", "--sort", "name")
    func expect(_ heading: String, _ order: [Int]) throws {
      try terminal.wait(for: "\(heading), then \(order)") { screen in
        let lines = screen.lines.filter { line in names.contains { line.contains(" \($0) ") } }
        let shown = lines.compactMap { line in names.firstIndex { line.contains(" \($0) ") } }
        return screen.lines.contains { $0.contains("\(heading) ") } && shown == order
      }
    }
    try expect("NAME▲", [0, 1, 2])
    try terminal.type("r")
    try expect("NAME▼", [2, 1, 0])
    try terminal.type("2")
    try expect("SIZE▼", [1, 2, 0])
    try terminal.type("r")
    try expect("SIZE▲", [0, 2, 1])
    // To the left of the size is the heap; of one heap the larger comes first.
    try terminal.type("\u{1b}[D")
    try expect("HEAP▲", [2, 0, 1])
    try terminal.type("<")
    try expect("NAME▲", [0, 1, 2])
    try terminal.type("?")
    try terminal.waitForLine("q Esc: quit   space p: pause")
    try terminal.type("h")
    try terminal.waitForLine("q quit   ? keys")
    try terminal.type("\u{1b}")
    #expect(try terminal.end() == .status(0))
    _ = consume first
    _ = consume second
    _ = consume third
    withExtendedLifetime((small, large)) {}
  }

  @Test func `another size is another layout`() throws {
    let holder = try HoldingProcess("memfd")
    let terminal = try PseudoTerminal(rows: 30, columns: 110)
    try terminal.start("watch", "--pid", "\(holder.id)", "--interval", "3600")
    try terminal.wait(for: "30 lines") { $0.lines[29].hasPrefix("q quit") }
    for (rows, columns) in [(12, 50), (40, 200), (6, 20), (1, 1), (24, 80)] {
      try terminal.resize(rows: rows, columns: columns)
      try terminal.wait(for: "\(rows) by \(columns)") {
        $0.lines[rows - 1] == "q quit   ? keys   space pause   < > sort   r reverse".cut(columns)
          && $0.lines[0].count == columns
      }
    }
    try terminal.waitForLine("heapctl \(holder.id) (2 fd)")
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))
    holder.end()
  }

  @Test func `what other programs call themselves does not reach the terminal`() throws {
    let own = try String(contentsOfFile: "/proc/self/comm", encoding: .utf8)
    try #"名\#u{1b}[2J\#u{9b}m"#.write(toFile: "/proc/self/comm", atomically: false, encoding: .utf8)
    defer { try? own.write(toFile: "/proc/self/comm", atomically: false, encoding: .utf8) }
    let heap = MemfdHeap()
    let vmo = try heap.allocateVmo(
      size: 5 << 20, settings: SingleBufferSettings(), bufferCollectionID: 772, bufferIndex: 0)
    let terminal = try PseudoTerminal()
    try terminal.start("watch", "--pid", "\(getpid())")
    try terminal.waitForLine("名?[2J?m \(getpid()) (2 fd)")
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))
    #expect(terminal.screen.erasures == 1)
    #expect(terminal.screen.unknown == [])

    let plain = try PseudoTerminal()
    try plain.start("watch", "--pid", "\(getpid())", environment: ["LC_ALL": "C"])
    try plain.waitForLine("??[2J?m \(getpid()) (2 fd)")
    #expect(plain.screen.lines.joined().allSatisfy { $0.isASCII })
    try plain.type("q")
    #expect(try plain.end() == .status(0))
    _ = consume vmo
    withExtendedLifetime(heap) {}
  }

  @Test func `another user is told what is not seen`() throws {
    let holder = try HoldingProcess("memfd")
    let terminal = try PseudoTerminal()
    let nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    try terminal.start("watch", through: nobody)
    try terminal.waitForLine("not seen: ")
    try terminal.wait(for: "the reasons") {
      let text = $0.lines.joined(separator: " ")
      return text.contains(
        "of other users; not seen: the kernel's own list of dma-bufs (/sys/kernel")
    }
    #expect(!terminal.screen.lines.contains { $0.contains(" \(holder.id) ") })
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))

    let refused = try Run.heapctl(
      "holders", "--pid", "\(holder.id)", through: nobody)
    let other = try PseudoTerminal(columns: 250)
    try other.start("watch", "--pid", "\(holder.id)", "--color", "never", through: nobody)
    #expect(try other.end() == .status(77))
    try other.wait(for: "the refusal") {
      $0.lines.joined().hasPrefix(refused.error.dropLast())
    }
    #expect(!other.screen.isAlternate && other.screen.showsCursor)
    holder.end()
  }

  @Test(
    arguments: [
      ([], [:], true), (["--color", "never"], [:], false), ([], ["NO_COLOR": "1"], false),
      (["--color", "always"], ["NO_COLOR": "1"], true),
    ] as [([String], [String: String], Bool)])
  func `colours are the user's choice`(
    _ words: [String], _ environment: [String: String], _ isTinted: Bool
  ) throws {
    let terminal = try PseudoTerminal()
    try terminal.start([try Program.path("heapctl"), "watch"] + words, environment: environment)
    try terminal.waitForLine("HELD BY")
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))
    try terminal.wait(for: "the end") { !$0.isAlternate }
    // At the end all tints are put back, whether there were any or not.
    #expect(terminal.screen.tints.isSuperset(of: ["1", "0"]) == isTinted)
    #expect(isTinted || terminal.screen.tints == ["0"])
  }

  @Test func `nothing runs while it is paused`() throws {
    let terminal = try PseudoTerminal()
    try terminal.start("watch", "--interval", "0.1")
    try terminal.waitForLine("HELD BY")
    try terminal.type(" ")
    try terminal.waitForLine("PAUSED at ")
    // Of each thread, how often it went to sleep.
    func switches() throws -> [String] {
      let tasks = "/proc/\(terminal.process)/task"
      return try FileManager.default.contentsOfDirectory(atPath: tasks).sorted().flatMap {
        try String(contentsOfFile: "\(tasks)/\($0)/status", encoding: .utf8)
          .split(separator: "\n").map(String.init)
          .filter { $0.hasPrefix("voluntary_ctxt_switches") }
      }
    }
    // What it has written is here before it goes to sleep. Not paused it would look seven times in this time.
    let isAtRest = try (1...5).contains { _ in
      let before = try switches()
      usleep(700_000)
      return try !before.isEmpty && switches() == before
    }
    #expect(isAtRest)
    try terminal.type("p")
    try terminal.wait(for: "going on") { !$0.lines.contains { $0.contains("PAUSED") } }
    try terminal.type("q")
    #expect(try terminal.end() == .status(0))
  }
}

extension String {
  /// As much of it as has room, with what tells that something is missing.
  fileprivate func cut(_ columns: Int) -> String {
    count <= columns ? self : prefix(columns - 1) + "…"
  }
}
