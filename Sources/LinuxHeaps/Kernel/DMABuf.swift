internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// The ioctls of a dma-buf descriptor (linux/dma-buf.h).
enum DMABuf {
  /// The longest name that `DMA_BUF_SET_NAME` takes, without its NUL.
  static let longestName = 31

  static func setName(_ name: String, of buffer: CInt) throws(Errno) {
    _ = try call { unsafe CLinuxHeaps_dma_buf_set_name(buffer, name) }
  }

  /// Begins or ends CPU access. The kernel answers EINTR or EAGAIN while a fence is waited for, and
  /// asks to be called again for both.
  static func sync(_ buffer: CInt, _ flags: UInt64) throws(Errno) {
    while true {
      do throws(Errno) {
        _ = try call { CLinuxHeaps_dma_buf_sync(buffer, flags) }
        return
      } catch .resourceTemporarilyUnavailable {
        continue
      }
    }
  }
}
