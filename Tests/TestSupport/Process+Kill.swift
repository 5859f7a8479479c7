package import Foundation

extension Process {
  /// Ends it and waits for its end. A child starts with the signals blocked that the thread had blocked that started it: where
  /// that is one of libdispatch's, ``terminate()`` ends no program that does not unblock SIGTERM.
  package func kill() {
    if isRunning { Foundation.kill(processIdentifier, SIGKILL) }
    waitUntilExit()
  }
}
