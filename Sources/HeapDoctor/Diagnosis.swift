internal import LinuxHeaps

/// All that was found on a machine.
package struct Diagnosis: Sendable {
  package let findings: [Finding]
  /// The release of the machine that was examined.
  package let kernel: String
  package let user: String
  package let container: String?

  /// - Parameter probing: Whether the largest free piece of each contiguous region is found out by
  ///   allocating it.
  package init(of machine: Machine, probing: Bool = false) {
    kernel = machine.release.text
    user = machine.identity.name
    container = machine.container
    // Before this process has buffers of its own.
    let holders = HolderExamination.findings(machine)
    let trial = Trial(of: machine)
    findings =
      KernelExamination.findings(machine)
      + HeapExamination.findings(machine, trial)
      + ContiguousExamination.findings(machine, trial, probing: probing)
      + UdevExamination.findings(machine)
      + MemoryExamination.findings(machine) + holders
      + LimitExamination.findings(machine, trial)
      + [UDMABufExamination.finding(machine)]
      + ImporterExamination.findings(machine, trial)
      + [ServiceExamination.finding(machine)]
  }

  package func findings(in area: Area) -> [Finding] { findings.filter { $0.area == area } }

  package func count(_ severity: Severity) -> Int { findings.count { $0.severity == severity } }

  package var isBroken: Bool { count(.broken) > 0 }
}

/// One thing that was seen on a machine, and what it means for allocation.
package struct Finding: Equatable, Sendable, Encodable {
  /// Stays the same from version to version: `area.cause`.
  package let id: String
  package let severity: Severity
  package let area: Area
  /// The fact, with names and figures.
  package let seen: String
  /// What follows from it.
  package let why: String
  /// A command that mends it; nil where nothing needs mending.
  package let fix: String?

  init(
    _ severity: Severity, _ area: Area, _ id: String, seen: String, why: String, fix: String? = nil
  ) {
    self.id = id
    self.severity = severity
    self.area = area
    self.seen = seen
    self.why = why
    self.fix = fix
  }
}

/// How much a finding matters, the least first.
package enum Severity: String, CaseIterable, Comparable, Sendable, Encodable {
  /// As it should be.
  case ok
  /// Worth knowing; allocation works.
  case note
  /// Some requests fail, or may fail later.
  case warning
  /// Requests fail now.
  case broken

  package static func < (left: Severity, right: Severity) -> Bool {
    allCases.firstIndex(of: left)! < allCases.firstIndex(of: right)!
  }
}

/// What is examined, in the order of a report.
package enum Area: String, CaseIterable, Sendable, Encodable {
  case kernel
  case heaps
  case contiguous
  case udev
  case memory
  case limits
  case udmabuf
  case importers
  case service
}

/// Commands that several findings give.
enum Fix {
  static func kernelOptions(_ names: [String], _ machine: Machine) -> String {
    ofKernel(
      "scripts/config " + names.map { "-e \($0)" }.joined(separator: " ")
        + "  # in the kernel's source tree; then build, install and boot it", machine)
  }

  /// Loads a module now, and whenever the machine starts (modules-load.d(5)).
  static func load(_ module: KernelModule, _ machine: Machine, note: String = "") -> String {
    let folder = "/etc/modules-load.d"
    // A container has no list of its host's modules.
    let fix =
      machine.container != nil || module.isInstalled(on: machine.files)
      ? "sudo modprobe \(module.name) && "
        + (machine.files.exists(folder) ? "" : "sudo mkdir -p \(folder) && ")
        + "echo \(module.name) | sudo tee \(folder)/\(module.name).conf"
      : module.fix(on: machine.files)
    return ofKernel(note.isEmpty ? fix : "\(fix)  # \(note)", machine)
  }

  static func hugePages(_ machine: Machine) -> String {
    ofKernel(HugePageSize.advice(machine.files), machine)
  }

  /// What is done to the kernel: a container has its host's.
  static func ofKernel(_ fix: String, _ machine: Machine) -> String {
    guard machine.container != nil else { return fix }
    let (command, comment) = fix.parted(at: "  # ") ?? (fix, "")
    return "\(command)  # on the host" + (comment.isEmpty ? "" : ": \(comment)")
  }

  /// Several in one line, each once: what follows a comment would be none of it.
  static func joined(_ fixes: [String]) -> String? {
    var (commands, comments): ([String], [String]) = ([], [])
    for fix in fixes {
      let (command, comment) = fix.parted(at: "  # ") ?? (fix, "")
      if !commands.contains(command) { commands.append(command) }
      if !comment.isEmpty, !comments.contains(comment) { comments.append(comment) }
    }
    guard !commands.isEmpty else { return nil }
    return commands.joined(separator: " && ")
      + (comments.isEmpty ? "" : "  # " + comments.joined(separator: "; "))
  }
}

extension Array {
  /// Elements of the same key together, the groups in the order of their first.
  func grouped(by key: (Element) -> String) -> [[Element]] {
    var groups: [(key: String, elements: [Element])] = []
    for element in self {
      let key = key(element)
      if let index = groups.firstIndex(where: { $0.key == key }) {
        groups[index].elements.append(element)
      } else {
        groups.append((key, [element]))
      }
    }
    return groups.map(\.elements)
  }
}
