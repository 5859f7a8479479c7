internal import CLinuxHeaps
internal import Glibc
package import SystemPackage

/// What all descriptors of one buffer have in common, in every process: its device and inode.
///
/// The kernel gives the number to another buffer once this one is gone.
public struct VMOIdentity: Hashable, Sendable {
  /// `st_dev` (stat(2)): the kernel's mount of dma-bufs, or of memfds.
  public let device: UInt64
  /// `st_ino`.
  public let inode: UInt64

  init(device: UInt64, inode: UInt64) {
    self.device = device
    self.inode = inode
  }

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }

  /// Of a descriptor from a stranger: does not wait for the file's own file system.
  package init(of descriptor: borrowing OwnedFD) throws(Errno) {
    let number = descriptor.rawValue
    var (device, inode): (UInt64, UInt64) = (0, 0)
    _ = try call { unsafe CLinuxHeaps_identity(number, &device, &inode) }
    self.device = device
    self.inode = inode
  }
}
