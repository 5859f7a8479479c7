internal import LinuxHeaps

/// What the examinations look at: the running machine, or a tree of files that stands for one.
///
/// Of a tree only the files are looked at; nothing is allocated from its nodes. A tree's own /proc has to say
/// who asks: `/proc/self/status`.
package struct Machine: Sendable {
  let surroundings: Surroundings
  let release: KernelVersion
  let configuration: KernelConfiguration?
  let heaps: [HeapNode]
  /// Why the heaps' directory cannot be looked into.
  let closedDirectory: AccessRefusal?
  let rules: UdevRules
  var files: MachineFiles { surroundings.files }
  var identity: Credentials { surroundings.identity }
  var container: String? { surroundings.container }

  package init(root: String = "") {
    let files = MachineFiles(root: root)
    surroundings = Surroundings(files)
    release = KernelVersion(files)
    configuration = KernelConfiguration(files, release: release)
    rules = UdevRules(files)
    heaps = HeapNode.all(surroundings)
    closedDirectory = HeapCatalog(root: root).absence().flatMap {
      $0.cause == .directoryClosed ? $0 : nil
    }
  }

  /// Whether its devices can be tried.
  var isRunning: Bool { files.root.isEmpty }
}

/// A release as `uname -r` shows it, and the two numbers that it begins with.
struct KernelVersion: Sendable {
  let text: String
  private let major: Int
  private let minor: Int

  init(_ files: MachineFiles) {
    text = files.line("/proc/sys/kernel/osrelease") ?? ""
    let numbers = text.split { !$0.isNumber }.prefix(2).map { Int($0) ?? 0 }
    major = numbers.first ?? 0
    minor = numbers.count > 1 ? numbers[1] : 0
  }

  /// False where the release is not told.
  func isBefore(_ major: Int, _ minor: Int) -> Bool {
    !text.isEmpty && (self.major, self.minor) < (major, minor)
  }
}
