import Glibc

/// Waits until `holds` does. The patience is for an emulated machine, and only ends a failure.
func comesTrue(within patience: Duration = .seconds(60), _ holds: () throws -> Bool) rethrows
  -> Bool
{
  let deadline = ContinuousClock.now + patience
  while ContinuousClock.now < deadline {
    if try holds() { return true }
    usleep(2_000)
  }
  return try holds()
}
