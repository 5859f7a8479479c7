internal import CHeapPeer
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// A device that does nothing, at the pace of who holds it (`CONFIG_SW_SYNC`,
/// drivers/dma-buf/sw_sync.c): its fences signal when told. Closed, it fails those that have not.
struct SoftwareTimeline: ~Copyable {
  private let fd: OwnedFD

  /// Nil where the kernel has none, or debugfs is not mounted or closed to this user.
  init?() {
    let number = unsafe open("/sys/kernel/debug/sync/sw_sync", O_RDWR | O_CLOEXEC)
    guard number >= 0 else { return nil }
    fd = OwnedFD(adopting: number)
  }

  /// `SW_SYNC_IOC_CREATE_FENCE`: signals when the timeline has come to `value`.
  func fence(at value: UInt32) throws -> Fence {
    // struct sw_sync_create_fence_data: __u32 value; char name[32]; __s32 fence.
    var words = [UInt32](repeating: 0, count: 10)
    words[0] = value
    guard unsafe CHeapPeer_ioctl(fd.rawValue, 0xC028_5700, &words) == 0 else {
      throw Errno(rawValue: errno)
    }
    return try Fence(adopting: OwnedFD(adopting: CInt(bitPattern: words[9])))
  }

  /// `SW_SYNC_IOC_INC`.
  func advance() throws {
    var step: UInt32 = 1
    guard unsafe CHeapPeer_ioctl(fd.rawValue, 0x4004_5701, &step) == 0 else {
      throw Errno(rawValue: errno)
    }
  }
}
