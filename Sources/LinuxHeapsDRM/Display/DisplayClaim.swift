internal import CDRM
internal import LinuxHeaps
internal import SystemPackage

/// The right to change what a device's displays show (drm-uapi, "DRM Master"); given up when it goes
/// out of scope.
struct DisplayClaim: ~Copyable, Sendable {
  private let file: DRMFile

  init(_ file: DRMFile, _ operation: String) throws(HeapError) {
    guard file.takeDisplay() else {
      throw HeapError(
        .badState, operation, at: file.path, cause: "this process has a display of it already",
        fix: "open the device once more")
    }
    do throws(Errno) { try drmCall { drmSetMaster(file.fd.rawValue) } } catch {
      file.returnDisplay()
      throw HeapError(
        .accessDenied, operation, at: file.path, cause: "another program has the displays",
        errno: error, fix: "stop the desktop, or run as root on a text console")
    }
    self.file = file
  }

  deinit {
    drmDropMaster(file.fd.rawValue)
    file.returnDisplay()
  }
}
