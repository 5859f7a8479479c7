internal import Glibc

/// What all descriptors of one buffer have in common, in every process: its device and inode.
///
/// The kernel gives the number to another buffer once this one is gone.
public struct VMOIdentity: Hashable, Sendable {
  /// `st_dev` (stat(2)): the kernel's mount of dma-bufs, or of memfds.
  public let device: UInt64
  /// `st_ino`.
  public let inode: UInt64

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }
}
