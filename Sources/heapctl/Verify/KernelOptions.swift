internal import LinuxHeaps

/// How the running kernel was configured, as far as heaps and their users go.
struct KernelOptions {
  let source: String
  /// `n` for an option that is not set.
  let values: [String: String]

  private static let names: Set<String> = [
    "ARCH_DMA_ADDR_T_64BIT", "CGROUP_DMEM", "CMA", "CMA_SIZE_MBYTES", "CMA_SYSFS", "COMPACTION",
    "DEBUG_FS", "DMABUF_HEAPS", "DMABUF_HEAPS_CMA", "DMABUF_HEAPS_SYSTEM", "DMABUF_SYSFS_STATS",
    "DMA_CMA", "DRM", "DRM_VGEM", "DRM_VKMS", "FILE_LOCKING", "INOTIFY_USER", "IOMMU_SUPPORT",
    "MEMCG", "MEMFD_CREATE", "PREEMPT", "PREEMPT_RT", "PSI", "SYNC_FILE", "UDMABUF", "VIDEO_DEV",
    "VIDEO_VIVID",
  ]

  static func read() -> KernelOptions? {
    // The running kernel's own word comes first (CONFIG_IKCONFIG_PROC).
    let packed = "/proc/config.gz"
    if let file = try? SmallFile.bytes(packed, limit: 1 << 20), let text = gunzip(file) {
      return KernelOptions(source: packed, parsing: String(decoding: text, as: UTF8.self))
    }
    for path in ["/boot/config-\(kernelRelease)", "/lib/modules/\(kernelRelease)/config"] {
      if let text = try? SmallFile.read(path, limit: 1 << 20) {
        return KernelOptions(source: path, parsing: text)
      }
    }
    return nil
  }

  init(source: String, parsing text: String) {
    self.source = source
    var values: [String: String] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("CONFIG_") {
      let parts = line.dropFirst("CONFIG_".count).split(separator: "=", maxSplits: 1)
      if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
    }
    // An option of another architecture or version is not there; that it is "not set" is as true.
    self.values = Dictionary(
      uniqueKeysWithValues: Self.names.map { ($0, values[$0] ?? "n") })
  }
}
