internal import CLinuxHeaps
public import SystemPackage

/// What a fence is made of (`SYNC_IOC_FILE_INFO`, linux/sync_file.h).
public struct FenceInfo: Hashable, Sendable {
  public enum State: Hashable, Sendable {
    case active
    case signalled
    /// The device gave up.
    case failed(Errno)
  }

  /// One device's part of it.
  public struct Point: Hashable, Sendable {
    /// E.g. `vkms` or `sw_sync`.
    public let driver: String
    public let timeline: String
    public let state: State
    /// When it was signalled, on the monotonic clock; 0 before.
    public let nanoseconds: UInt64
  }

  public let name: String
  public let state: State
  /// The kernel leaves out those that were signalled when fences were merged.
  public let points: [Point]

  static func count(_ fence: CInt) throws(Errno) -> UInt32 {
    var information = sync_file_info()
    _ = try call { unsafe CLinuxHeaps_fence_info(fence, &information, nil, 0) }
    return information.num_fences
  }

  init(_ fence: CInt) throws(Errno) {
    // The number of a sync_file's points never changes.
    var points = [sync_fence_info](repeating: sync_fence_info(), count: Int(try Self.count(fence)))
    var information = sync_file_info()
    let capacity = UInt32(points.count)
    _ = try call { unsafe CLinuxHeaps_fence_info(fence, &information, &points, capacity) }
    name = Self.text(information.name)
    state = State(information.status)
    self.points = points.map {
      Point(
        driver: Self.text($0.driver_name), timeline: Self.text($0.obj_name),
        state: State($0.status), nanoseconds: $0.timestamp_ns)
    }
  }

  /// A name in a field of fixed size, which ends at its NUL.
  private static func text<Field: BitwiseCopyable>(_ field: Field) -> String {
    unsafe withUnsafeBytes(of: field) { bytes in
      unsafe String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }
}

extension FenceInfo.State {
  fileprivate init(_ status: Int32) {
    self = status == 0 ? .active : status > 0 ? .signalled : .failed(Errno(rawValue: -status))
  }
}
