import Foundation
import LinuxHeaps
import TestSupport
import Testing

@Suite struct LoadTests {
  private let folder: TemporaryFolder
  private let file: String

  init() throws {
    folder = try TemporaryFolder()
    file = try folder.file("file", String(repeating: "0123456789", count: 1000))
  }

  @Test(arguments: TestHeaps.mappable)
  func `JSON tells the buffer, and how the file came into it`(_ heap: String) throws {
    let run = try Run.heapctl("load", file, "--heap", heap, "--json")
    #expect(run.status == 0, "\(run.error)")
    let buffer = try #require(try run.json["buffer"] as? [String: Any])
    #expect(buffer["heap"] as? String == heap)
    #expect(buffer["sizeBytes"] as? UInt64 == UInt64(10_000).roundedUpToPages)
    let load = try #require(buffer["load"] as? [String: Any])
    #expect(load["file"] as? String == file)
    #expect(load["bytes"] as? Int == 10_000)
    #expect(try #require(load["bytesPerSecond"] as? UInt64) > 0)
    let way = try #require(load["way"] as? String)
    let isDirect = ["memfd", "udmabuf"].contains(heap)
    #expect(way == (isDirect ? "direct" : "copied") || way == "buffered")
    #expect(load["pageCacheBytes"] as? Int == (way == "buffered" ? 10_000 : 0))
    #expect((load["refusal"] == nil) == (way != "buffered"))
    #expect(run.error == "given back and reclaimed\n")
  }

  @Test(arguments: TestHeaps.mappable)
  func `text says the same`(_ heap: String) throws {
    let run = try Run.heapctl("load", file, "--heap", heap)
    #expect(run.status == 0, "\(run.error)")
    let lines = run.output.split(separator: "\n")
    #expect(
      lines.first?.hasPrefix("\(UInt64(10_000).roundedUpToPages!.asByteCount) of \(heap): ") == true
    )
    let line = try #require(lines.last).withoutChangingRate
    #expect(
      [
        "  loaded: 10000 bytes of \(file), past the page cache, without a copy, N/s",
        "  loaded: 10000 bytes of \(file), past the page cache, with a copy, N/s",
        "  loaded: 10000 bytes of \(file), 10000 of them through the page cache (Invalid argument), with a copy, N/s",
      ].contains(line), "\(line)")
  }

  @Test func `what the page cache serves is told with its reason`() throws {
    let run = try Run.heapctl("load", "/sys/kernel/notes", "--heap", "memfd")
    #expect(run.status == 0, "\(run.error)")
    let line = try #require(run.output.split(separator: "\n").last)
    #expect(
      try
        #/  loaded: ([0-9]+) bytes of /sys/kernel/notes, ([0-9]+) of them through the page cache \(Invalid argument\), with a copy, .*/s/#
        .wholeMatch(in: line).map { $0.1 == $0.2 } == true, "\(line)")
  }

  @Test func `without a heap's name a udmabuf takes it where there is one, else what alloc takes`()
    throws
  {
    let run = try Run.heapctl("load", file, "--json")
    let alloc = try Run.heapctl("alloc", "--size", "10000", "--json")
    #expect(run.status == alloc.status || UDMABufHeap.isUsable && run.status == 0)
    let heap = (try run.json["buffer"] as? [String: Any])?["heap"] as? String
    let allocated = (try alloc.json["buffer"] as? [String: Any])?["heap"] as? String
    #expect(heap == (UDMABufHeap.isUsable ? "udmabuf" : allocated))
  }

  @Test func `through heapd it is copied into the service's buffer`() throws {
    let daemon = try Daemon()
    let run = try Run.heapctl("load", file, "--socket", daemon.socket)
    #expect(run.status == 0, "\(run.error)")
    #expect(run.output.contains("served at \(daemon.socket)"))
    #expect(run.output.contains("  loaded: 10000 bytes of "))
  }

  @Test func `held until the input ends`() throws {
    let input = Pipe()
    try input.fileHandleForWriting.close()
    let run = try Run.heapctl(
      "load", file, "--heap", "memfd", "--hold", input: input.fileHandleForReading)
    #expect(run.status == 0)
    #expect(run.error.contains("held by process"))
    #expect(run.error.hasSuffix("given back and reclaimed\n"))
  }

  @Test func `words tell what is wrong with a file`() throws {
    for (path, words) in [
      ("/dev", "it is neither a regular file nor a block device; WRONG_TYPE"),
      (
        "/proc/self/status",
        "it has no bytes, or like a file of /proc does not tell how many; INVALID_ARGS. To fix it: "
      ),
      ("/nowhere", "No such file or directory [errno 2]; NOT_FOUND"),
    ] {
      let run = try Run.heapctl("load", path, "--heap", "memfd")
      #expect(run.error.contains("heapctl: load a file (\(path)): \(words)"), "\(run.error)")
      #expect(run.output == "")
    }
  }
}

extension Substring {
  fileprivate var withoutChangingRate: String {
    replacingOccurrences(
      of: ", [0-9.]+ [KMGT]?i?B/s$", with: ", N/s", options: .regularExpression)
  }
}
