package import LinuxHeaps

/// The error of a call that has to be refused; nil where it was not.
package func refusal<Result: ~Copyable>(_ body: () throws(HeapError) -> Result) -> HeapError? {
  do throws(HeapError) {
    _ = try body()
    return nil
  } catch {
    return error
  }
}
