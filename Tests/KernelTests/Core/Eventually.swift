/// Whether the condition comes to hold within a minute; asked every millisecond.
///
/// Also for what the kernel does at once at a last close: the processes of exit tests begin as copies
/// of this one and hold its descriptors until they have loaded their program.
func eventuallyHolds(_ condition: () throws -> Bool) async throws -> Bool {
  let deadline = ContinuousClock.now + .seconds(60)
  while try !condition() {
    guard ContinuousClock.now < deadline else { return false }
    try await Task.sleep(for: .milliseconds(1))
  }
  return true
}
