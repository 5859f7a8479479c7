internal import CDRM
public import LinuxHeaps

public import struct SystemPackage.Errno

/// A DRM device: it imports dma-bufs (PRIME, drm-prime(7)), and its primary node drives displays.
public struct DRMDevice: ~Copyable, Sendable {
  /// E.g. `vgem` or `vkms`.
  public let driver: String
  /// The node that was opened, e.g. `/dev/dri/card0`.
  public var path: String { file.path }
  let file: DRMFile

  /// Opens a node, e.g. `/dev/dri/renderD128`; whoever uses its displays keeps them.
  ///
  /// - Throws: `HeapError.Code.wrongType` for a file that is no DRM device, and what open(2) answers.
  public init(path: String) throws(HeapError) {
    let operation = "open a DRM device"
    let file: DRMFile
    do throws(Errno) {
      file = try DRMFile(path)
    } catch .noSuchFileOrDirectory {
      throw HeapError(
        .noSuchFileOrDirectory, operation, at: path, cause: "there is no such node",
        fix: DRMNode.advice)
    } catch {
      throw HeapError(error, operation, opening: path, kind: "drm")
    }
    guard let driver = file.driver else {
      throw HeapError(
        .wrongType, operation, at: path, cause: "the file is not a DRM device", fix: DRMNode.advice)
    }
    self.driver = driver
    self.file = file
  }

  /// The first device of one of these drivers, in their order; nil where there is none that this
  /// process may open.
  public init?(drivers: [String]) {
    let nodes = DRMNode.all()
    for driver in drivers {
      for node in nodes where node.kind == .primary && node.driver == driver {
        guard let file = try? DRMFile(node.path.string) else { continue }
        self.driver = driver
        self.file = file
        return
      }
    }
    return nil
  }

  /// Whether a framebuffer may name its modifier (`DRM_CAP_ADDFB2_MODIFIERS`).
  public var takesModifiers: Bool { file.capability(DRM_CAP_ADDFB2_MODIFIERS) == 1 }

  /// Imports a buffer: the device holds it until the handle is closed.
  ///
  /// A device that needs contiguous memory answers `.invalidArgument` to other memory; so does one
  /// whose driver imports nothing.
  public func importBuffer(_ vmo: borrowing VMO) throws(Errno) -> GEMHandle {
    let file = self.file
    return GEMHandle(
      file, try vmo.withDescriptor { (fd) throws(Errno) in try file.importBuffer(fd) })
  }
}

extension DRMNode {
  /// For somebody who named a wrong node.
  fileprivate static var advice: String {
    let nodes = all().map(\.path.string)
    return nodes.isEmpty
      ? "load the display's driver, or \(KernelModule.vkms.fix)"
      : "use one of: \(nodes.joined(separator: " "))"
  }
}

/// A device's own reference to a buffer, closed when it goes out of scope.
public struct GEMHandle: ~Copyable, Sendable {
  let file: DRMFile
  /// The number that stands for the buffer in this open file of the device.
  public let rawValue: UInt32

  init(_ file: DRMFile, _ rawValue: UInt32) {
    self.file = file
    self.rawValue = rawValue
  }

  deinit { file.close(rawValue) }
}

/// A buffer of the device's own making, linear, that the processor can fill (drm_mode_create_dumb).
///
/// The driver chooses the length of its rows and its size.
public struct DumbBuffer: ~Copyable, Sendable {
  public let handle: GEMHandle
  public let bytesPerRow: UInt32
  public let byteCount: UInt64

  /// Another handle to it, for access through a mapping, or for another device.
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
  /// Makes a dumb buffer of so many pixels; its memory is zero.
  public func dumbBuffer(
    width: UInt32, height: UInt32, bitsPerPixel: UInt32
  ) throws(HeapError) -> DumbBuffer {
    try file.dumbBuffer(SizeU(width: width, height: height), bitsPerPixel: bitsPerPixel)
  }
}

extension DRMFile {
  func dumbBuffer(_ pixels: SizeU, bitsPerPixel: UInt32) throws(HeapError) -> DumbBuffer {
    try attempt(
      "make a dumb buffer of \(pixels.width)x\(pixels.height) pixels of \(bitsPerPixel) bits",
      at: path
    ) { () throws(Errno) in
      var (handle, row, size): (UInt32, UInt32, UInt64) = (0, 0, 0)
      try drmCall {
        unsafe drmModeCreateDumbBuffer(
          fd.rawValue, pixels.width, pixels.height, bitsPerPixel, 0, &handle, &row, &size)
      }
      adopt(handle)
      return DumbBuffer(handle: GEMHandle(self, handle), bytesPerRow: row, byteCount: size)
    }
  }
}
