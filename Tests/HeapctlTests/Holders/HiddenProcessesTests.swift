import Foundation
import TestSupport
import Testing

/// Where /proc does not list every process, nobody is taken for seen.
@Suite(.enabled(if: geteuid() == 0, "needs root, to mount /proc"))
struct HiddenProcessesTests {
  private static func mounted(_ options: String) -> [String] {
    Prefix.namespace("mount -t proc -o \(options) proc /proc", as: Prefix.nobody)
  }

  @Test(arguments: ["hidepid=2", "hidepid=4"])
  func `processes that are hidden are told of`(_ options: String) throws {
    let run = try Run.heapctl("holders", through: Self.mounted(options))
    #expect(run.status == 0)
    #expect(run.output.contains("not listed here: /proc is mounted with hidepid"), "\(run)")
    let report = try Run.heapctl("holders", "--json", through: Self.mounted(options)).json
    let holders = try #require(report["holders"] as? [String: Any])
    let unseen = try #require(holders["unseen"] as? [String: Any])
    #expect(unseen["hidden"] as? String == "/proc is mounted with hidepid")
  }

  @Test func `so are those outside a PID namespace`() throws {
    let prefix = Prefix.namespace("", flags: ["--mount", "--pid", "--fork", "--mount-proc"])
    let run = try Run.heapctl("holders", through: prefix)
    #expect(run.output.contains("not listed here: this is a PID namespace of its own"))
  }

  @Test func `a process that is hidden is not said to be none`() throws {
    let run = try Run.heapctl("holders", "--pid", "1", through: Self.mounted("hidepid=2"))
    #expect(run.status == 77)
    #expect(run.error.contains("it is another user's, and /proc is mounted with hidepid"))
    let none = try Run.heapctl("holders", "--pid", "4194305", through: Self.mounted("hidepid=2"))
    #expect(none.status == 69)
  }

  /// A process of nobody's. It is dumpable or not (PR_SET_DUMPABLE, 4) when it writes its line.
  private static func nobody(isDumpable: Bool) throws -> Process {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/setpriv")
    process.arguments = [
      "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c",
      """
      import ctypes, time
      assert ctypes.CDLL(None).prctl(4, \(isDumpable ? 1 : 0), 0, 0, 0) == 0
      print(flush=True)
      time.sleep(600)
      """,
    ]
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    if output.fileHandleForReading.availableData.isEmpty {
      process.kill()
      throw CancellationError()
    }
    return process
  }

  /// Docker's set of capabilities has CAP_DAC_OVERRIDE, and not this one.
  @Test func `root without CAP_SYS_PTRACE is refused another user's process`() throws {
    let process = try Self.nobody(isDumpable: true)
    defer { process.kill() }
    let words = ["holders", "--pid", "\(process.processIdentifier)"]
    let limited = ["--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
    let refused = try Run.heapctl(words, through: ["/usr/bin/setpriv"] + limited)
    #expect(refused.status == 77)
    #expect(
      refused.error.contains("it is another user's, and this process lacks CAP_SYS_PTRACE"),
      "\(refused)")
    #expect(try Run.heapctl(words).status == 0)
  }

  @Test func `one's own process that is not dumpable is not said to be another user's`() throws {
    let process = try Self.nobody(isDumpable: false)
    defer { process.kill() }
    let run = try Run.heapctl(
      "holders", "--pid", "\(process.processIdentifier)",
      through: Prefix.namespace("", as: Prefix.nobody))
    #expect(run.status == 77)
    #expect(run.error.contains("it is not dumpable"), "\(run)")
    #expect(run.error.hasSuffix("To fix it: run as root\n"), "\(run)")
  }
}
