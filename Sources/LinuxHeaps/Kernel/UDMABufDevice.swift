internal import CLinuxHeaps
internal import Glibc
internal import SystemPackage

/// `/dev/udmabuf`, which makes dma-bufs of memfd pages (linux/udmabuf.h).
struct UDMABufDevice: ~Copyable {
  static let path = "/dev/udmabuf"

  private let fd: OwnedFD

  init() throws(Errno) { fd = try .open(Self.path, O_RDONLY) }

  /// A dma-buf of the memfd's pages from `offset`; both numbers in whole pages. It pins them.
  ///
  /// The memfd has to be sealed against shrinking.
  func create(
    _ memfd: borrowing OwnedFD, offset: UInt64, byteCount: UInt64
  ) throws(Errno) -> OwnedFD {
    let device = fd.rawValue
    let pages = memfd.rawValue
    return OwnedFD(
      adopting: try call { CLinuxHeaps_udmabuf_create(device, pages, offset, byteCount) })
  }

  /// The most bytes that the driver puts into one dma-buf, nil where it does not tell: 64 MiB by
  /// default on 6.12, on 7.3 as good as none.
  static var sizeLimit: UInt64? {
    SmallFile.number("/sys/module/udmabuf/parameters/size_limit_mb").map { $0 << 20 }
  }
}
