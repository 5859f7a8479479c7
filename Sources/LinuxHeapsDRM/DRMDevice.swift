internal import CDRM
internal import Glibc
public import LinuxHeaps

public import struct SystemPackage.Errno

/// A DRM device that can import dma-bufs (PRIME, drm-prime(7)).
public struct DRMDevice: ~Copyable, Sendable {
  /// E.g. `vgem` or `vkms`.
  public let driver: String
  private let fd: OwnedFD

  /// The first device of one of these drivers, in their order; nil where there is none that this
  /// process may open.
  public init?(drivers: [String]) {
    for driver in drivers {
      // 64 minors of each kind are all that the kernel hands out (drivers/gpu/drm/drm_drv.c).
      for minor in 0..<64 {
        let number = unsafe open("/dev/dri/card\(minor)", O_RDWR | O_CLOEXEC)
        guard number >= 0 else { continue }
        let fd = OwnedFD(adopting: number)
        if DRMDevice.driver(of: fd) == driver {
          self.driver = driver
          self.fd = fd
          return
        }
      }
    }
    return nil
  }

  private static func driver(of fd: borrowing OwnedFD) -> String? {
    guard let version = unsafe drmGetVersion(fd.rawValue) else { return nil }
    defer { unsafe drmFreeVersion(version) }
    return unsafe String(cString: version.pointee.name)
  }

  /// Imports a buffer: the device holds it until the handle is closed.
  public func importBuffer(_ vmo: borrowing VMO) throws(Errno) -> GEMHandle {
    var handle: UInt32 = 0
    let device = fd.rawValue
    let result = vmo.withDescriptor { unsafe drmPrimeFDToHandle(device, $0, &handle) }
    // libdrm answers -1 with errno here, as its ioctl does.
    if result != 0 { throw Errno(rawValue: errno) }
    return GEMHandle(try fd.duplicate(), handle)
  }
}

/// A device's own reference to a buffer, closed when it goes out of scope.
public struct GEMHandle: ~Copyable, Sendable {
  private let fd: OwnedFD
  private let handle: UInt32

  init(_ fd: consuming OwnedFD, _ handle: UInt32) {
    self.fd = fd
    self.handle = handle
  }

  deinit { drmCloseBufferHandle(fd.rawValue, handle) }
}
