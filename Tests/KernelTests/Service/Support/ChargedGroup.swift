import Glibc
import SystemPackage

@testable import LinuxHeaps

/// A control group of its own for a process, whose memory the kernel counts.
struct ChargedGroup {
  static let root = (try? ControlGroup().directories().last) ?? ""

  /// Only the root group may have both processes and groups with the memory controller, and it has no type.
  static var canBeMade: Bool {
    let controllers = (try? SmallFile.read("\(root)/cgroup.controllers")) ?? ""
    let isRoot = unsafe access("\(root)/cgroup.type", F_OK) != 0
    return geteuid() == 0 && isRoot
      && controllers.split { $0.isWhitespace }.contains("memory")
  }

  private let directory: String

  /// - Parameters:
  ///   - limit: `memory.max`, beyond which the kernel ends whoever is in it.
  ///   - high: `memory.high`, beyond which it has them wait.
  init(_ name: String, limit: UInt64? = nil, high: UInt64? = nil) throws(Errno) {
    let directory = "\(Self.root)/\(name)-\(getpid())"
    self.directory = directory
    try Self.write("+memory", to: "\(Self.root)/cgroup.subtree_control")
    _ = try call { unsafe mkdir(directory, 0o755) }
    if let limit { try Self.write("\(limit)", to: "\(directory)/memory.max") }
    if let high { try Self.write("\(high)", to: "\(directory)/memory.high") }
  }

  /// Bytes that it is charged for.
  var memory: UInt64 { SmallFile.number("\(directory)/memory.current") ?? .max }

  func enter() throws(Errno) { try Self.write("\(getpid())", to: "\(directory)/cgroup.procs") }

  /// What starts a program in it.
  var start: [String] {
    ["/bin/sh", "-c", "echo $$ > \(directory)/cgroup.procs && exec \"$@\"", "sh"]
  }

  /// This process goes back to the root's; the group goes when nobody is in it.
  func leave() throws(Errno) {
    try Self.write("\(getpid())", to: "\(Self.root)/cgroup.procs")
    // The processes that were there may be on their way out.
    for _ in 0..<10_000 {
      if unsafe rmdir(directory) == 0 { return }
      usleep(1_000)
    }
    throw Errno(rawValue: errno)
  }

  static func write(_ text: String, to path: String) throws(Errno) {
    try OwnedFD.open(path, O_WRONLY).write(Array(text.utf8))
  }
}
