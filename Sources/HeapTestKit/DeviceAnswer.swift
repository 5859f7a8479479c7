internal import LinuxHeapsDRM

/// What a device did with a check's buffer.
public struct DeviceAnswer: Hashable, Sendable {
  /// Its node and its driver, e.g. `/dev/dri/card0 (vgem)`.
  public let device: String
  /// `imports`, `streams`, or `refuses` and why.
  public let answer: String
}

extension DeviceAnswer {
  init(_ node: DRMNode, _ answer: String) {
    self.init(device: "\(node.path) (\(node.driver ?? "?"))", answer: answer)
  }

  init(_ camera: CameraTrial, _ outcome: CameraTrial.Outcome) {
    self.init(
      device: "\(camera.path) (\(camera.driver), \(camera.width)x\(camera.height))",
      answer: outcome == .streamed ? "streams" : "refuses: it needs contiguous memory")
  }
}
