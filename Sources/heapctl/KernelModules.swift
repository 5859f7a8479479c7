internal import HeapDoctor
internal import LinuxHeaps
internal import SystemPackage

extension HeapError {
  private static let options = [
    "udmabuf": "CONFIG_UDMABUF", "vkms": "CONFIG_DRM_VKMS", "vivid": "CONFIG_VIDEO_VIVID",
  ]

  /// With no advice to load a module that this kernel was built without.
  var fittingKernel: HeapError {
    for (module, option) in Self.options {
      let command = "modprobe \(module)"
      guard let fix, fix.hasSuffix(command), let configuration = KernelConfiguration(),
        configuration.text(option) == nil
      else { continue }
      return HeapError(
        code, operation, at: path?.string, cause: cause, errno: errno,
        fix: fix.dropLast(command.count) + "build the kernel with \(option)")
    }
    return self
  }
}
