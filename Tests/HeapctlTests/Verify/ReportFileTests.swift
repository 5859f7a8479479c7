import Foundation
import Glibc
import HeapReport
import TestSupport
import Testing

/// `-o FILE` and `--from FILE`.
@Suite struct ReportFileTests {
  private struct Folder: ~Copyable {
    let path = FileManager.default.temporaryDirectory.path + "/heapctl-\(UUID().uuidString)"

    init() throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    var names: [String] {
      get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
    }

    func put(_ text: String, _ name: String) throws {
      try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
    }

    func text(_ name: String) throws -> String {
      String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(path)/\(name)")), as: UTF8.self)
    }
  }

  @Test func `a file takes the report, and its folder nothing else`() throws {
    let folder = try Folder()
    try folder.put("old", "report")
    let run = try Run.heapctl(
      "verify", "--heap", "opaque", "--seed", "9", "--format", "html", "-o", "\(folder.path)/report"
    )
    #expect(run.status == 0)
    #expect(run.output == "")
    let report = try Report(reading: try folder.text("report"))
    #expect(run.error == "\(report.summary); the report is in \(folder.path)/report\n")
    #expect(report.seed == 9)
    #expect(try folder.names == ["report"])
  }

  @Test func `a page on which nothing could be measured tells why`() throws {
    var report = Report.sample
    report.latencies = [
      Report.Latency(heap: "system", sizeBytes: 4096, nanoseconds: [], reason: "refused")
    ]
    #expect(try report.html.contains("was measured 0 times: refused"))
  }

  @Test func `one report becomes every format`() throws {
    let folder = try Folder()
    try folder.put(try Report.sample.json, "report.json")
    try folder.put(try Report.sample.html, "report.html")
    for name in ["report.json", "report.html"] {
      let path = "\(folder.path)/\(name)"
      func shown(_ format: String) throws -> String {
        let run = try Run.heapctl("verify", "--from", path, "--format", format)
        #expect(run.status == 0 && run.error == "")
        let output = "\(folder.path)/output"
        let written = try Run.heapctl("verify", "--from", path, "--format", format, "-o", output)
        #expect(written == Run(output: "", error: "", status: 0))
        #expect(try folder.text("output") == run.output)
        return run.output
      }
      #expect(try shown("text") == Report.sample.text)
      #expect(try shown("ktap") == Report.sample.ktap)
      #expect(try shown("junit") == Report.sample.junit)
      #expect(try shown("json") == Report.sample.json)
      #expect(try shown("html") == Report.sample.html)
    }
  }

  @Test func `what cannot be written is told before any check runs`() throws {
    let folder = try Folder()
    let missing = "\(folder.path)/none/report"
    let run = try Run.heapctl("verify", "--heap", "memfd", "-o", missing)
    #expect(
      run
        == Run(
          output: "",
          error: "heapctl: write the report (\(missing)): No such file or directory [errno 2]; IO. "
            + "To fix it: name a file in a folder that this user may write to\n", status: 1))
    let directory = try Run.heapctl("verify", "--heap", "memfd", "-o", folder.path)
    #expect(
      directory
        == Run(
          output: "",
          error: "heapctl: write the report (\(folder.path)): Is a directory [errno 21]; IO. "
            + "To fix it: name a file in it\n", status: 1))
    #expect(try folder.names == [])
    for (path, cause) in [
      (folder.path + "/" + String(repeating: "x", count: 256), "File name too long [errno 36]"),
      (folder.path + "/loop", "Too many levels of symbolic links [errno 40]"),
    ] {
      if cause.hasPrefix("Too") { _ = unsafe symlink("loop", path) }
      let run = try Run.heapctl("bench", "--heap", "memfd", "--rounds", "1", "--svg", path)
      #expect(run.output == "" && run.status == 1)
      #expect(run.error.contains("\(cause); IO. To fix it: name another file\n"), "\(run.error)")
    }
    // Where root has every right and yet nothing can be made.
    let odd = try Run.heapctl("verify", "--heap", "memfd", "-o", "/proc/report")
    #expect(
      odd.output == "" && odd.error.hasPrefix("heapctl: write the report (/proc/report): ")
        && odd.error.hasSuffix("To fix it: name a file in a folder that this user may write to\n"))
    #expect(odd.status == (geteuid() == 0 ? 1 : 77))
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to become another user"))
  func `a folder of somebody else's is told as such`() throws {
    let folder = try Folder()
    try folder.put("old", "report")
    let run = try Run.heapctl(
      "verify", "--heap", "memfd", "-o", "\(folder.path)/report",
      through: EveryFormatTests.ordinaryUser)
    #expect(
      run
        == Run(
          output: "",
          error: "heapctl: write the report (\(folder.path)/report): Permission denied [errno 13]; "
            + "ACCESS_DENIED. To fix it: name a file in a folder that this user may write to\n",
          status: 77))
    #expect(try folder.text("report") == "old")
  }

  @Test(.enabled(if: geteuid() == 0, "needs root, to become another user"))
  func `a file of somebody else's in a sticky folder is told as such`() throws {
    let folder = try Folder()
    try folder.put("old", "report")
    try FileManager.default.setAttributes(
      [.posixPermissions: 0o1777], ofItemAtPath: folder.path)
    let run = try Run.heapctl(
      "verify", "--heap", "memfd", "-o", "\(folder.path)/report",
      through: EveryFormatTests.ordinaryUser)
    #expect(
      run
        == Run(
          output: "",
          error: "heapctl: write the report (\(folder.path)/report): Operation not permitted "
            + "[errno 1]; ACCESS_DENIED. To fix it: name a file in a folder that this user may write to\n",
          status: 77))
    let own = try Run.heapctl(
      "verify", "--heap", "opaque", "-o", "\(folder.path)/own",
      through: EveryFormatTests.ordinaryUser)
    #expect(own.status == 0)
    #expect(try folder.names == ["own", "report"])
    #expect(try folder.text("report") == "old")
  }

  @Test(arguments: ["0.02", "0.1", "0.3"])
  func `a run that is killed leaves no file`(_ seconds: String) throws {
    let folder = try Folder()
    // Enough heaps that the end is not reached; where it is, the report is whole.
    let heaps = Array(repeating: ["--heap", "memfd"], count: 20).flatMap { $0 }
    let run = try Run.heapctl(
      ["verify", "-o", "\(folder.path)/report"] + heaps,
      through: ["/usr/bin/timeout", "-s", "KILL", seconds])
    let names = try folder.names
    #expect(run.status == 0 ? names == ["report"] : names == [])
  }

  @Test func `a symbolic link stays one, and a pipe is written to`() throws {
    let folder = try Folder()
    try folder.put("old", "file")
    try FileManager.default.createSymbolicLink(
      atPath: "\(folder.path)/link", withDestinationPath: "file")
    #expect(try Run.heapctl("verify", "--heap", "opaque", "-o", "\(folder.path)/link").status == 0)
    #expect(
      try FileManager.default.destinationOfSymbolicLink(atPath: "\(folder.path)/link") == "file")
    #expect(try folder.text("file").contains("pass  opaque"))
    // Not /dev/stdout, which a machine without udev need not have.
    let run = try Run.heapctl("verify", "--heap", "opaque", "-o", "/proc/self/fd/1")
    #expect(run.status == 0)
    #expect(run.output.hasPrefix("pass  opaque"))
  }

  @Test func `what is no report is told as such`() throws {
    let folder = try Folder()
    try folder.put("{\"results\": []}", "other.json")
    let other = try Run.heapctl("verify", "--from", "\(folder.path)/other.json")
    #expect(other.status == 1 && other.output == "")
    #expect(other.error.contains("it has no report of `heapctl verify` in it"))
    #expect(other.error.contains("To fix it: name a file of verify --format json or html"))
    let none = try Run.heapctl("verify", "--from", "\(folder.path)/none")
    #expect(
      none
        == Run(
          output: "",
          error: "heapctl: read the report (\(folder.path)/none): No such file or directory "
            + "[errno 2]; NOT_FOUND. To fix it: name a file that verify wrote\n", status: 69))
    try folder.put(
      try Report.sample.json.replacingOccurrences(
        of: "\"schemaVersion\" : 1", with: "\"schemaVersion\" : 2"), "later.json")
    let later = try Run.heapctl("verify", "--from", "\(folder.path)/later.json")
    #expect(later.error.contains("its schemaVersion is 2, this program knows 1"))
    #expect(try folder.names == ["later.json", "other.json"])
  }
}
