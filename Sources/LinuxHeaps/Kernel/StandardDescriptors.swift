internal import Glibc

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
}
