internal import CLinuxHeaps

/// The command line.
package enum ProgramArguments {
  /// Its words, the program's name first.
  ///
  /// `CommandLine.arguments` is what /proc/self/cmdline says, and empty or cut where that cannot be read: a program would run
  /// as if nothing had been asked of it.
  ///
  /// - Throws: ``HeapError/Code/notSupported`` where nobody tells them.
  package static func read() throws(HeapError) -> [String] {
    var count: CInt = 0
    if let words = unsafe CLinuxHeaps_arguments(&count) {
      return (0..<Int(count)).map { unsafe String(cString: words[$0]) }
    }
    let words = CommandLine.arguments
    guard !words.isEmpty else {
      throw HeapError(
        .notSupported, "read the arguments", at: "/proc/self/cmdline",
        cause: "there are none, not even the program's name", fix: "mount -t proc proc /proc")
    }
    return words
  }
}
