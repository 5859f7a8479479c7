import Foundation
import LinuxHeaps
import LinuxHeapsDRM
import SystemPackage
import Testing

extension Heap {
  func buffer(_ size: UInt64, index: UInt64 = 0) throws -> VMO {
    try allocateVmo(
      size: size, settings: SingleBufferSettings(), bufferCollectionID: 0x4d4d, bufferIndex: index)
  }

  /// Waits until every buffer is gone.
  func eventuallyEmpty() -> Bool {
    let deadline = ContinuousClock.now + .seconds(60)
    while liveBufferCount > 0 && ContinuousClock.now < deadline { usleep(1_000) }
    return liveBufferCount == 0
  }
}

/// The virtual devices of the test kernels.
enum TestDevice {
  private static let nodes = DRMNode.all().filter { $0.kind == .primary }
  static let names: [String] = ["vgem", "vkms"].filter { name in
    nodes.contains { $0.driver == name }
  }
  static let hasDisplay = names.contains("vkms")

  static func open(_ driver: String) throws -> DRMDevice {
    try DRMDevice(path: try #require(nodes.first { $0.driver == driver }).path.string)
  }
}

extension VMO {
  /// Paints through the library's bracketed access.
  borrowing func paint(_ pattern: TestPattern, _ layout: ImageLayout) throws {
    let mapping = try map()
    var access = try mapping.writeAccess()
    var bytes = access.mutableBytes
    Painter(layout)?.paint(pattern, into: &bytes)
    try access.end()
  }
}
