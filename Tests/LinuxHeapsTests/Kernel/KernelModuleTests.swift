import Testing

@testable import LinuxHeaps

@Suite struct KernelModuleTests {
  private static let other =
    "install the module udmabuf for this kernel, or use a kernel that has CONFIG_UDMABUF"

  /// A list of modules as depmod(8) writes it; nil for a machine that has none.
  @Test(arguments: [
    ("kernel/drivers/dma-buf/udmabuf.ko.xz:\n", "modprobe udmabuf"),
    ("kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\nextra/udmabuf.ko:\n", "modprobe udmabuf"),
    ("kernel/drivers/gpu/drm/vgem/vgem.ko:\n", other),
    ("kernel/drivers/dma-buf/not-udmabuf.ko:\n", other),
    ("", other),
    (nil, other),
  ])
  func `modprobe is told where it finds the module`(_ list: String?, _ fix: String) throws {
    let machine = try TemporaryDirectory()
    try machine.directory("proc/sys/kernel")
    try machine.file("proc/sys/kernel/osrelease", "6.12.1-test\n")
    if let list {
      try machine.directory("lib/modules/6.12.1-test")
      try machine.file("lib/modules/6.12.1-test/modules.dep", list)
    }
    #expect(KernelModule.udmabuf.fix(on: MachineFiles(root: machine.path)) == fix)
  }

  @Test func `a heap's module is told until it is loaded`() throws {
    let machine = try TemporaryDirectory()
    try machine.directory("proc/sys/kernel")
    try machine.file("proc/sys/kernel/osrelease", "7.0.1-test\n")
    let catalog = HeapCatalog(root: machine.path)
    #expect(catalog.advice(for: .system, else: "other") == "other")
    try machine.directory("lib/modules/7.0.1-test")
    try machine.file(
      "lib/modules/7.0.1-test/modules.dep",
      "kernel/drivers/dma-buf/heaps/system_heap.ko:\nkernel/drivers/dma-buf/heaps/cma_heap.ko:\n")
    #expect(catalog.advice(for: .system, else: "other") == "sudo modprobe system_heap")
    #expect(catalog.contiguousAdvice == "sudo modprobe cma_heap")
    try machine.directory("sys/module/cma_heap")
    #expect(catalog.advice(for: .contiguous, else: "other") == "other")
  }

  /// By uname(2), and the release of the machine that is looked at.
  @Test func `a release is the running kernel's, or a tree's own`() throws {
    let told = try #require(MachineFiles().line("/proc/sys/kernel/osrelease"))
    #expect(kernelRelease == told)
    #expect(KernelVersion(MachineFiles()).text == told)
    let machine = try TemporaryDirectory()
    #expect(KernelVersion(MachineFiles(root: machine.path)).text == "")
    try machine.directory("proc/sys/kernel")
    try machine.file("proc/sys/kernel/osrelease", "4.19.0-test\n")
    #expect(KernelVersion(MachineFiles(root: machine.path)).isBefore(5, 6))
  }
}
