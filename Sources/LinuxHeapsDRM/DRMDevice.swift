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

  /// Opens a node, e.g. `/dev/dri/renderD128`. It does not take the display from anybody.
  public init(path: String) throws(HeapError) {
    let file: DRMFile
    do throws(Errno) { file = try DRMFile(path) } catch {
      throw HeapError(opening: path, error)
    }
    guard let driver = file.driver else {
      throw HeapError(
        .wrongType, "open a DRM device", at: path, cause: "the file is no DRM device",
        fix: DRMNode.advice)
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

extension HeapError {
  fileprivate init(opening path: String, _ errno: Errno) {
    switch errno {
    case .noSuchFileOrDirectory:
      self.init(
        errno, "open a DRM device", at: path, cause: "there is no such node",
        fix: DRMNode.advice)
    case .permissionDenied, .notPermitted:
      self.init(
        errno, "open a DRM device", at: path, cause: "this user may not open the node",
        fix: "join its group: usermod -aG video USER (or render), and log in again")
    default: self.init(errno, "open a DRM device", at: path)
    }
  }
}

extension DRMNode {
  /// For who named a node that is none.
  fileprivate static var advice: String {
    let nodes = all().map(\.path.string)
    return nodes.isEmpty
      ? "load the display's driver, or modprobe vkms"
      : "use one of: \(nodes.joined(separator: " "))"
  }
}
