/// A driver that nothing loads by itself, because no hardware asks for it.
package struct KernelModule: Sendable {
  package static let udmabuf = KernelModule(name: "udmabuf", option: "CONFIG_UDMABUF")
  package static let vgem = KernelModule(name: "vgem", option: "CONFIG_DRM_VGEM")
  package static let vivid = KernelModule(name: "vivid", option: "CONFIG_VIDEO_VIVID")
  package static let vkms = KernelModule(name: "vkms", option: "CONFIG_DRM_VKMS")
  package static let systemHeap = KernelModule(
    name: "system_heap", option: "CONFIG_DMABUF_HEAPS_SYSTEM")
  package static let contiguousHeap = KernelModule(
    name: "cma_heap", option: "CONFIG_DMABUF_HEAPS_CMA")

  package let name: String
  /// The kernel's, with which it is built.
  package let option: String

  /// What brings it to the running machine.
  package var fix: String { fix(on: MachineFiles()) }

  package func fix(on machine: MachineFiles) -> String {
    isInstalled(on: machine)
      ? "modprobe \(name)"
      : "install the module \(name) for this kernel, or use a kernel that has \(option)"
  }

  /// - Parameter other: What helps where it is loaded, or cannot be.
  func advice(on machine: MachineFiles, else other: String) -> String {
    isInstalled(on: machine) && !machine.exists("/sys/module/\(name)")
      ? "sudo modprobe \(name)" : other
  }

  /// modprobe(8) finds a module in the list that depmod(8) made of those that are installed, by lines like
  /// `kernel/drivers/dma-buf/udmabuf.ko.xz:`. A distribution may have it in a package of its own (linux-modules-extra), and a
  /// container has no list.
  package func isInstalled(on machine: MachineFiles) -> Bool {
    let release = machine.release
    // Of a distribution's kernel with all of its drivers it is 600 KB long.
    let installed = machine.text("/lib/modules/\(release)/modules.dep", limit: 4 << 20) ?? ""
    return installed.holds("/\(name).ko")
  }
}
