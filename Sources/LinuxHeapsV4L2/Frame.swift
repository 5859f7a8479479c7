public import LinuxHeaps

/// A buffer that came back from a queue.
public struct Frame: ~Copyable, Sendable {
  /// The buffer, which is the caller's again.
  public let vmo: VMO
  /// Counted by the device; a gap tells of frames that found no buffer.
  public let sequence: UInt32
  public let bytesUsed: UInt64
  /// When it was taken, in microseconds of the device's clock, most often the monotonic one.
  public let microseconds: Int64
  /// The device says that the contents are damaged (`V4L2_BUF_FLAG_ERROR`).
  public let isDamaged: Bool

  /// The buffer alone, e.g. to queue it again.
  public consuming func takeVMO() -> VMO { vmo }
}
