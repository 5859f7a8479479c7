internal import CZlib
internal import LinuxHeaps

/// The options that the running kernel was built with, where the machine keeps them.
package struct KernelConfiguration: Sendable {
  enum Choice: Sendable { case builtIn, module, off }

  /// The file that told them.
  package let path: String
  private let values: [Substring: Substring]

  /// Of the machine that this runs on.
  package init?() {
    let files = MachineFiles(root: "")
    self.init(files, release: KernelVersion(files))
  }

  /// Nil where no place that is usual has it.
  init?(_ files: MachineFiles, release: KernelVersion) {
    // CONFIG_IKCONFIG_PROC; distributions; Fedora and Yocto put it beside the modules.
    for path in [
      "/proc/config.gz", "/boot/config-\(release.text)", "/lib/modules/\(release.text)/config",
      "/usr/lib/modules/\(release.text)/config",
    ] {
      if let text = Self.text(files.path(path)), text.holds("CONFIG_") {
        self.init(parsing: text, path: path)
        return
      }
    }
    return nil
  }

  private init(parsing text: String, path: String) {
    self.path = path
    var values: [Substring: Substring] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("CONFIG_") {
      guard let equals = line.firstIndex(of: "=") else { continue }
      values[line[..<equals]] = line[line.index(after: equals)...]
    }
    self.values = values
  }

  /// `name` with its `CONFIG_`. An option that is off is a comment in the file, or is not there.
  subscript(_ name: String) -> Choice {
    switch values[Substring(name)] {
    case "y": .builtIn
    case "m": .module
    default: .off
    }
  }

  /// As the file has it, e.g. `y`, `m` or `64`; nil for an option that is off.
  package func text(_ name: String) -> String? { values[Substring(name)].map(String.init) }

  func number(_ name: String) -> UInt64? { values[Substring(name)].flatMap { UInt64($0) } }

  /// gzread(3) passes a file through that is not compressed.
  private static func text(_ path: String) -> String? {
    guard let file = unsafe gzopen(path, "rbe") else { return nil }
    defer { unsafe gzclose(file) }
    // The largest seen, a distribution's, has 300 KB.
    let limit = 2 << 20
    var failed = false
    let text = unsafe String(unsafeUninitializedCapacity: limit) { buffer in
      let count = unsafe gzread(file, buffer.baseAddress!, UInt32(limit))
      failed = count < 0
      return Int(max(count, 0))
    }
    return failed ? nil : text
  }
}
