internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// The ioctls of a dma-buf descriptor (linux/dma-buf.h).
enum DMABuf {
  /// The longest name that `DMA_BUF_SET_NAME` takes, without its NUL.
  static let longestName = 31

  static func setName(_ name: String, of buffer: borrowing OwnedFD) throws(Errno) {
    let number = buffer.rawValue
    _ = try call { unsafe CLinuxHeaps_dma_buf_set_name(number, name) }
  }

  /// The size that the exporter gave it; a dma-buf has no other length.
  static func size(of buffer: borrowing OwnedFD) throws(Errno) -> UInt64 {
    let number = buffer.rawValue
    return UInt64(try call { lseek(number, 0, SEEK_END) })
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
