import Glibc

/// Whether the condition comes to hold within a minute, which only a failure takes.
package func eventually(_ condition: () throws -> Bool) rethrows -> Bool {
  let deadline = ContinuousClock.now + .seconds(60)
  while try !condition() {
    guard ContinuousClock.now < deadline else { return false }
    usleep(1_000)
  }
  return true
}
