internal import Glibc

/// One line on a terminal that tells what is under way, and is gone when it is done.
struct Progress {
  private let isShown: Bool

  /// - Parameter besideLines: Whether lines go to standard output meanwhile: on a terminal they tell
  ///   enough.
  init(besideLines: Bool) {
    isShown =
      StandardStream.error.isTerminal && !(besideLines && StandardStream.output.isTerminal)
  }

  func show(_ words: String) { put("\r\u{1B}[2K\(words)\r") }

  func clear() { put("\r\u{1B}[2K") }

  private func put(_ words: String) {
    guard isShown else { return }
    var bytes = Array(words.utf8)
    _ = unsafe bytes.withUnsafeMutableBytes {
      unsafe write(STDERR_FILENO, $0.baseAddress!, $0.count)
    }
  }
}
