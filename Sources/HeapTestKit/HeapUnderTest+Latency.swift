public import LinuxHeaps

extension HeapUnderTest {
  /// How long one allocation of a heap takes.
  ///
  /// Each buffer is given back before the next is asked for, so that one buffer's room is enough. The
  /// first allocation is not counted: it pays for what is set up once.
  ///
  /// - Returns: A time for each allocation that was made, and the refusal that ended them early.
  public func allocationTimes(
    of size: UInt64, count: Int
  ) async -> (times: [Duration], refusal: HeapError?) {
    var times: [Duration] = []
    do {
      let bench = try CheckBench(self)
      for index in 0...UInt64(count) {
        let start = ContinuousClock.now
        let vmo = try bench.allocate(size, index: index)
        let time = ContinuousClock.now - start
        if index > 0 { times.append(time) }
        try await bench.delete(vmo, index: index)
      }
      return (times, nil)
    } catch let error as HeapError {
      return (times, error)
    } catch {
      preconditionFailure("a heap threw no HeapError: \(error)")
    }
  }
}
