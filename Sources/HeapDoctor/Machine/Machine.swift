internal import LinuxHeaps

/// What the examinations look at: the running machine, or a tree of files that stands for one.
///
/// Of a tree only the files are looked at; nothing is allocated from its nodes. A tree's own /proc has to say
/// who asks: `/proc/self/status`.
package struct Machine: Sendable {
  /// What stands before each path; empty for the running machine.
  let root: String
  let release: KernelVersion
  let identity: Identity
  let configuration: KernelConfiguration?
  let heaps: [HeapNode]
  let rules: UdevRules
  let container: String?

  package init(root: String = "") {
    let files = MachineFiles(root: root)
    self.root = root
    release = KernelVersion(files)
    identity = Identity(files)
    configuration = KernelConfiguration(files, release: release)
    rules = UdevRules(files)
    heaps = HeapNode.all(files)
    container = Container.name(files)
  }

  var files: MachineFiles { MachineFiles(root: root) }

  /// Whether its devices can be tried.
  var isRunning: Bool { root.isEmpty }
}
