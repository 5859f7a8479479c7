internal import CDRM
public import LinuxHeaps
internal import SystemPackage

/// A buffer of the device's own making, linear, that the processor can fill (drm_mode_create_dumb).
///
/// Here to compare with: it tells which row and size the driver itself chooses.
public struct DumbBuffer: ~Copyable, Sendable {
  public let handle: GEMHandle
  public let bytesPerRow: UInt32
  public let byteCount: UInt64

  /// A second handle to it, for access through a mapping, or for another device.
  public func export() throws(HeapError) -> VMO {
    let file = handle.file
    let fd = try attempt("export a dumb buffer", at: file.path) { () throws(Errno) in
      var number: CInt = -1
      try drmCall {
        unsafe drmPrimeHandleToFD(
          file.fd.rawValue, handle.rawValue, UInt32(DRM_CLOEXEC | DRM_RDWR), &number)
      }
      return OwnedFD(adopting: number)
    }
    return try VMO(adopting: fd)
  }
}

extension DRMDevice {
  /// Makes a dumb buffer; its memory is zero.
  public func dumbBuffer(
    width: UInt32, height: UInt32, bitsPerPixel: UInt32
  ) throws(HeapError) -> DumbBuffer {
    let file = self.file
    return try attempt(
      "make a dumb buffer of \(width)x\(height) pixels of \(bitsPerPixel) bits", at: path
    ) { () throws(Errno) in
      var (handle, row, size): (UInt32, UInt32, UInt64) = (0, 0, 0)
      try drmCall {
        unsafe drmModeCreateDumbBuffer(
          file.fd.rawValue, width, height, bitsPerPixel, 0, &handle, &row, &size)
      }
      file.adopt(handle)
      return DumbBuffer(handle: GEMHandle(file, handle), bytesPerRow: row, byteCount: size)
    }
  }
}
