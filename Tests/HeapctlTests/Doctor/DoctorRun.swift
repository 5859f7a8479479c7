import Foundation
import TestSupport

/// What `heapctl doctor --json` found.
struct DoctorRun {
  struct Report: Decodable {
    struct Finding: Decodable {
      let id: String
      let severity: String
      let area: String
      let seen: String
      let why: String
      let fix: String?
    }

    let kernel: String
    let user: String
    let container: String?
    let severity: String
    let findings: [Finding]
  }

  private struct Output: Decodable {
    let schemaVersion: Int
    let doctor: Report
  }

  let report: Report
  let status: Int32

  init(_ arguments: String..., through prefix: [String] = []) throws {
    let run = try Run.heapctl(["doctor", "--json"] + arguments, through: prefix)
    status = run.status
    do {
      report = try JSONDecoder().decode(Output.self, from: Data(run.output.utf8)).doctor
    } catch {
      throw Unreadable(run: run)
    }
  }

  struct Unreadable: Error, CustomStringConvertible {
    let run: Run
    var description: String { "\(run.status): \(run.output) \(run.error)" }
  }

  func ids(_ severity: String) -> [String] {
    report.findings.filter { $0.severity == severity }.map(\.id)
  }

  func finding(_ id: String) -> Report.Finding? { report.findings.first { $0.id == id } }
}

extension Run {
  /// Why a heap cannot be used, as `heapctl list` has it; nil where it can.
  static func unusable(_ heap: String, through prefix: [String]) throws -> String? {
    let rows = try heapctl("list", "--json", through: prefix).json["heaps"] as? [[String: Any]]
    return rows?.first { $0["name"] as? String == heap }?["unusable"] as? String
  }
}

/// What runs before heapctl, in the same process.
enum Prefix {
  /// A mount namespace of its own, in which `script` makes the machine what it shall be. A heapctl
  /// that is run as another user is reached through a descriptor: that user may not be able to reach
  /// its folder.
  static func namespace(
    _ script: String, flags: [String] = ["--mount"], as user: String = ""
  ) -> [String] {
    [
      "/usr/bin/unshare"
    ] + flags + [
      "/bin/bash", "-c",
      """
      set -eu
      exec 9< "$1"
      heapctl=$1
      shift
      \(script)
      exec \(user) /proc/self/fd/9 "$@"
      """, "bash",
    ]
  }

  /// Filters on x86-64, where ioctl is call 16 and memfd_create 319, of one request of ioctl(2), or of each call: `SECCOMP_RET_ERRNO` with EPERM
  /// and ENOTTY, and `SECCOMP_RET_KILL_PROCESS`.
  static func filter(_ request: String? = nil, _ answer: String, call: Int = 16) -> [String] {
    let wanted = request.map { "(0x20, 0, 0, 24), (0x15, 0, 1, \($0))," } ?? ""
    let filter = """
      import ctypes, os, struct, sys
      lines = [(0x20, 0, 0, 0), (0x15, 0, \(request == nil ? 1 : 3), \(call)), \(wanted)
               (0x06, 0, 0, \(answer)), (0x06, 0, 0, 0x7FFF0000)]
      program = b"".join(struct.pack("HBBI", *line) for line in lines)
      class Program(ctypes.Structure):
          _fields_ = [("count", ctypes.c_ushort), ("lines", ctypes.c_char_p)]
      libc = ctypes.CDLL(None)
      whole = Program(len(lines), program)
      assert libc.prctl(38, 1, 0, 0, 0) == 0
      assert libc.prctl(22, 2, ctypes.byref(whole), 0, 0) == 0
      os.execv(sys.argv[1], sys.argv[1:])
      """
    return ["/usr/bin/python3", "-c", filter]
  }

  static let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups"

  static func nobody(in groups: String) -> String {
    "setpriv --reuid=65534 --regid=65534 --groups=\(groups)"
  }
}
