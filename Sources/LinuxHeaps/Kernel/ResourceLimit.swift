internal import CLibrary

/// One of a process's limits (getrlimit(2)); `.max` where there is none.
package struct ResourceLimit: Sendable {
  package enum Kind: Sendable {
    case openFiles, addressSpace, fileSize, processes

    /// The letter of a shell's `ulimit`, the option of prlimit(1), and the line in /proc/self/limits.
    var names: (letter: String, option: String, line: String) {
      switch self {
      case .openFiles: ("n", "nofile", "Max open files")
      case .addressSpace: ("v", "as", "Max address space")
      case .fileSize: ("f", "fsize", "Max file size")
      case .processes: ("u", "nproc", "Max processes")
      }
    }
  }

  package let kind: Kind
  package let soft: UInt64
  package let hard: UInt64

  /// This process's.
  init(_ kind: Kind) {
    var limit = rlimit()
    let resource =
      switch kind {
      case .openFiles: number(RLIMIT_NOFILE)
      case .addressSpace: number(RLIMIT_AS)
      case .fileSize: number(RLIMIT_FSIZE)
      case .processes: number(RLIMIT_NPROC)
      }
    unsafe getrlimit(resource, &limit)
    self.kind = kind
    (soft, hard) = (UInt64(limit.rlim_cur), UInt64(limit.rlim_max))
  }

  /// Nil where the file does not tell.
  package init?(_ kind: Kind, _ files: MachineFiles) {
    let (lines, name) = (
      (files.text("/proc/self/limits") ?? "").split(separator: "\n"), kind.names.line
    )
    let line = lines.first { $0.hasPrefix(name) }
    guard let words = line?.dropFirst(name.count).split(separator: " "), words.count > 1
    else { return nil }
    self.kind = kind
    (soft, hard) = (UInt64(words[0]) ?? .max, UInt64(words[1]) ?? .max)
  }

  /// What is told to who ran out of descriptors: twice as many, and never few.
  package var more: UInt64 { max(4096, 2 * min(soft, 1 << 19)) }

  /// As far as the hard limit allows, where that is more.
  func raisedWhole() -> String { raised(to: hard > soft ? hard : .max) }

  /// As a shell sets it, for itself and what it starts. Above the hard limit that takes root (setrlimit(2)).
  package func raised(to wanted: UInt64 = .max) -> String {
    let limit = wanted == .max ? "unlimited" : "\(wanted)"
    if wanted <= hard { return "ulimit -S\(kind.names.letter) \(limit)" }
    return "sudo prlimit --pid $$ --\(kind.names.option)=\(limit):\(limit)"
  }
}
