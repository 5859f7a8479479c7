internal import CLibrary
package import SystemPackage

/// Numbers 0, 1 and 2.
package enum StandardDescriptors {
  /// Takes those that whoever started this process has closed: else the first file that it opens would get what it says. Nothing
  /// can be read from or written to what takes their place.
  ///
  /// Before anything is opened.
  package static func fillGaps() {
    for (number, mode) in [
      (STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDONLY),
    ]
    where fcntl(number, F_GETFD) < 0 {
      // Gets the lowest number that is free, which is this one.
      _ = unsafe open("/dev/null", mode)
    }
  }

  /// Has what grows beyond `RLIMIT_FSIZE`, a memfd too, fail with EFBIG and not end the process (setrlimit(2)).
  package static func ignoreSizeLimit() { _ = signal(SIGXFSZ, SIG_IGN) }

  /// That something could not be written, and what helps.
  package static func loss(_ number: CInt, _ error: Errno) -> String {
    "write to standard \(number == STDOUT_FILENO ? "output" : "error"): \(error) [errno \(error.rawValue)]. "
      + "To fix it: make room where it goes, or open it"
  }
}
