import Foundation
import LinuxHeaps
import TestSupport
import Testing

/// `heapctl holders --growing`, of this process: memfds are everywhere.
@Suite(.serialized) struct GrowingTests {
  /// What this process holds, with what other tests may have left.
  private static func own() throws -> (buffers: Int, bytes: Int) {
    let run = try Run.heapctl("holders", "--pid", "\(getpid())", "--json")
    let report = try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any]
    let holders = report?["holders"] as? [String: Any]
    let processes = try #require(holders?["processes"] as? [[String: Any]])
    let mine = try #require(processes.first { $0["process"] as? Int32 == getpid() })
    return (
      try #require(mine["buffers"] as? Int), try #require(mine["sizeBytes"] as? Int)
    )
  }

  @Test func `who grew is told, the most first, with the new buffers`() throws {
    let heap = MemfdHeap()
    func allocate(_ mebibytes: UInt64, _ index: UInt64) throws -> VMO {
      try heap.allocateVmo(
        size: mebibytes << 20, settings: SingleBufferSettings(), bufferCollectionID: 881,
        bufferIndex: index)
    }
    let old = try allocate(2, 0)
    let growing = try GrowingRun("--json")
    let large = try allocate(3, 1)
    let small = try allocate(1, 2)
    let other = try HoldingProcess("memfd")
    let grown = try #require(try growing.grown())
    let mine = try #require(grown.firstIndex { $0["process"] as? Int32 == getpid() })
    let theirs = try #require(grown.firstIndex { $0["process"] as? Int32 == other.id })
    #expect(mine < theirs)
    let all = try Self.own()
    #expect(grown[mine]["buffers"] as? Int == all.buffers)
    #expect(grown[mine]["sizeBytes"] as? Int == all.bytes)
    #expect(all.buffers >= 3 && all.bytes >= 6 << 20)
    #expect(grown[mine]["moreBuffers"] as? Int == 2)
    #expect(grown[mine]["moreBytes"] as? Int == 4 << 20)
    let new = try #require(grown[mine]["newBuffers"] as? [[String: Any]])
    #expect(try new.map { $0["name"] as? String } == [large.name, small.name])
    #expect(grown[theirs]["program"] as? String == "heapctl")
    #expect(grown[theirs]["moreBytes"] as? Int == 1 << 20)
    other.end()
    withExtendedLifetime(heap) {}
    _ = consume old
    _ = consume large
    _ = consume small
  }

  @Test func `the text is of the process that was asked for`() throws {
    let heap = MemfdHeap()
    let growing = try GrowingRun("--pid", "\(getpid())")
    let vmo = try heap.allocateVmo(
      size: 1 << 20, settings: SingleBufferSettings(), bufferCollectionID: 882, bufferIndex: 0)
    let other = try HoldingProcess("memfd")
    let lines = try growing.output().split(separator: "\n").map(String.init)
    #expect(lines[0] == "grew in 1 s, the most first")
    let all = try Self.own()
    let program = try String(contentsOfFile: "/proc/self/comm", encoding: .utf8).dropLast()
    #expect(
      lines[2].split(separator: " ").joined(separator: " ")
        == "process \(getpid()) (\(program)) \(all.buffers) +1 \(UInt64(all.bytes).asByteCount) +1 MiB"
    )
    let name = try #require(try vmo.name)
    #expect(lines[3] == "  new: 1 MiB of memfd, inode \(vmo.identity.inode), \(name)")
    #expect(
      lines.dropFirst(4).allSatisfy { $0.hasPrefix("not seen: ") || $0.hasPrefix("in flight: ") })
    other.end()
    withExtendedLifetime(heap) {}
    _ = consume vmo
  }

  @Test func `who gives back what it takes does not grow`() throws {
    let heap = MemfdHeap()
    func allocate(_ index: UInt64) throws -> VMO {
      try heap.allocateVmo(
        size: 1 << 20, settings: SingleBufferSettings(), bufferCollectionID: 883, bufferIndex: index
      )
    }
    let first = try allocate(0)
    let inode = first.identity.inode
    let growing = try GrowingRun("--pid", "\(getpid())")
    _ = consume first
    let second = try allocate(1)
    #expect(second.identity.inode != inode)
    let output = try growing.output()
    let all = try Self.own()
    let buffers = all.buffers == 1 ? "1 buffer" : "\(all.buffers) buffers"
    #expect(
      output.hasPrefix(
        "process \(getpid()) did not grow in 1 s: \(buffers), \(UInt64(all.bytes).asByteCount)\n"),
      "\(output)")
    withExtendedLifetime(heap) {}
    _ = consume second
  }

  @Test func `a process that ends meanwhile is not there`() throws {
    let holder = try HoldingProcess("memfd")
    let growing = try GrowingRun("--pid", "\(holder.id)")
    holder.end()
    #expect(try growing.output() == "")
    #expect(growing.status == 69)
  }

  @Test(arguments: ["0", "-1", "nan", "soon", "86401", ""])
  func `wrong times are told`(_ seconds: String) throws {
    let run = try Run.heapctl("holders", "--growing", seconds)
    #expect(run.status == 64)
    #expect(run.error.contains("--growing"))
    #expect(run.output == "")
  }
}

/// A `heapctl holders --growing 1` that has looked once.
final class GrowingRun {
  private let process = Process()
  private let standardOutput = Pipe()

  init(_ words: String...) throws {
    let error = Pipe()
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = ["holders", "--growing", "1"] + words
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = standardOutput
    process.standardError = error
    try process.run()
    var said = ""
    while !said.contains("\n") {
      let more = error.fileHandleForReading.availableData
      guard !more.isEmpty else { throw Failed(said: said) }
      said += String(decoding: more, as: UTF8.self)
    }
    guard said == "reading again in 1 s\n" else { throw Failed(said: said) }
    // It goes on when the test has done what it will find, however slow the machine.
    kill(process.processIdentifier, SIGSTOP)
  }

  deinit { goOn() }

  private func goOn() { if process.isRunning { kill(process.processIdentifier, SIGCONT) } }

  struct Failed: Error { let said: String }

  /// All that it says, once it has looked again.
  func output() throws -> String {
    goOn()
    let bytes = standardOutput.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: bytes, as: UTF8.self)
  }

  var status: Int32 { process.terminationStatus }

  func grown() throws -> [[String: Any]]? {
    let json = try JSONSerialization.jsonObject(with: Data(try output().utf8)) as? [String: Any]
    let growth = (json?["holders"] as? [String: Any])?["growth"] as? [String: Any]
    return growth?["grown"] as? [[String: Any]]
  }
}
