internal import HeapDoctor

extension KernelConfiguration {
  private static let names = [
    "ARCH_DMA_ADDR_T_64BIT", "CGROUP_DMEM", "CMA", "CMA_SIZE_MBYTES", "CMA_SYSFS", "COMPACTION",
    "DEBUG_FS", "DMABUF_HEAPS", "DMABUF_HEAPS_CMA", "DMABUF_HEAPS_SYSTEM", "DMABUF_SYSFS_STATS",
    "DMA_CMA", "DRM", "DRM_VGEM", "DRM_VKMS", "FILE_LOCKING", "INOTIFY_USER", "IOMMU_SUPPORT",
    "MEMCG", "MEMFD_CREATE", "PREEMPT", "PREEMPT_RT", "PSI", "SYNC_FILE", "UDMABUF", "VIDEO_DEV",
    "VIDEO_VIVID",
  ]

  /// The options that heaps and their users depend on, as a report has them: without `CONFIG_`, and `n`
  /// for one that is off, which is as true of an option that this kernel does not know.
  var reported: [String: String] {
    Dictionary(uniqueKeysWithValues: Self.names.map { ($0, text("CONFIG_\($0)") ?? "n") })
  }
}
