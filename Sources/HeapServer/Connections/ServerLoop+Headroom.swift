internal import LinuxHeaps

extension ServerLoop {
  /// Counted rather than tried: a message that brings handles must always find room for them, because
  /// the kernel throws away what does not fit.
  var isOutOfDescriptors: Bool {
    let open =
      32 + heap.descriptorsPerBuffer * ledger.charges.count + connections.count + clients.count
      + unsentHandles + metricsReaders.count + trackers.total + runningAllocations
      + disposer.open.total
    return open + headroom.reserve > headroom.limit
  }
}
