/// What a heap's memory is, as far as its name or its region tells.
public enum HeapRole: String, Hashable, Sendable {
  /// Single pages from the page allocator: not contiguous.
  case system
  /// Physically contiguous.
  case contiguous
  /// Out of the processor's reach (TEE heaps).
  case protected
  /// Not told; used where a person names it.
  case other
}

/// A heap name that kernels are known to use, whole: no part of a name means anything.
struct KnownHeapName {
  let name: String
  let role: HeapRole
  /// A name of the kernel's default contiguous region.
  var isDefaultRegion = false
  /// The kernels that have it.
  let kernels: String

  /// In the order of preference within a role.
  static let table: [KnownHeapName] = [
    .init(name: "system", role: .system, kernels: "5.6 and later"),
    .init(
      name: "default_cma_region", role: .contiguous, isDefaultRegion: true,
      kernels: "6.17 and later"),
    // What the region itself is called. Before 6.17 it was the heap's only name; from 7.0 on it
    // stands beside `default_cma_region`: the same memory twice.
    .init(
      name: "linux,cma", role: .contiguous, isDefaultRegion: true,
      kernels: "5.6 and later, region from the device tree"),
    .init(
      name: "reserved", role: .contiguous, isDefaultRegion: true,
      kernels: "5.6 and later, region from cma= or the kernel's configuration"),
    .init(
      name: "default-pool", role: .contiguous, isDefaultRegion: true,
      kernels: "5.6 and later, some device trees"),
    // drivers/tee/tee_heap.c
    .init(name: "protected,secure-video", role: .protected, kernels: "6.18 and later"),
    .init(name: "protected,trusted-ui", role: .protected, kernels: "6.18 and later"),
    .init(name: "protected,secure-video-record", role: .protected, kernels: "6.18 and later"),
    .init(
      name: "system_cc_shared", role: .other, kernels: "7.x, confidential virtual machines"),
    // Cached differently from what their plain kin promise: only where a person asks for them.
    .init(name: "system-uncached", role: .other, kernels: "Android and vendor kernels"),
    .init(name: "cma-uncached", role: .other, kernels: "vendor kernels"),
    .init(name: "vidbuf_cached", role: .other, kernels: "Raspberry Pi, a symbolic link"),
  ]

  static func named(_ name: String) -> KnownHeapName? { table.first { $0.name == name } }

  /// Where a name stands in the table; the unknown come last.
  static func preference(_ name: String) -> Int {
    table.firstIndex { $0.name == name } ?? table.count
  }
}
