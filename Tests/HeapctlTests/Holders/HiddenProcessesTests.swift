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
}
