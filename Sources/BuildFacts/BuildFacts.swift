internal import CBuildFacts

/// What a program's `--version` tells.
package enum BuildFacts {
  package static let version = "0.1.0"

  /// `unknown` where the sources are in no repository.
  private static let commit = unsafe String(cString: CBuildFacts_commit())

  /// The compiler answers questions about its version, and tells it in no other way.
  private static let toolchain: String = {
    #if compiler(>=6.4)
      "Swift 6.4 or later"
    #elseif compiler(>=6.3.2)
      "Swift 6.3.2 or later"
    #elseif compiler(>=6.3.1)
      "Swift 6.3.1"
    #elseif compiler(>=6.3)
      "Swift 6.3"
    #else
      "Swift 6.2"
    #endif
  }()

  /// As GNU's programs put it: the first line's last word is the version.
  package static func text(of program: String) -> String {
    """
    \(program) \(version)
    commit \(commit)
    built with \(toolchain)
    """
  }
}
