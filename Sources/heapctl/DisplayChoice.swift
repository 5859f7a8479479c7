internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import SystemPackage

/// Which device, connector and mode a person's words, or their absence, mean.
enum DisplayChoice {
  static func device(_ name: String?) throws(HeapError) -> DRMDevice {
    let nodes = DRMNode.all()
    if let name, name.contains("/") { return try DRMDevice(path: name) }
    let fitting = nodes.filter { name == nil ? $0.hasConnectors : $0.driver == name }
    if let node = fitting.first(where: isLit) ?? fitting.first {
      return try DRMDevice(path: node.path.string)
    }
    if let closed = nodes.first(where: { $0.refusal != nil }) {
      // It says who may open the node.
      return try DRMDevice(path: closed.path.string)
    }
    let what = name.map { "a device of \($0)" } ?? "a display"
    let list = nodes.map { "\($0.path.string) (\($0.driver ?? "?"))" }.joined(separator: ", ")
    throw HeapError(
      .notFound, "look for \(what)", at: "/dev/dri",
      cause: list.isEmpty ? "there is no DRM device" : "there is none among \(list)",
      fix: "load the display's driver, or \(KernelModule.vkms.fix)")
  }

  static func connector(
    _ name: String?, of device: borrowing DRMDevice
  ) throws(HeapError) -> Connector {
    let all = try device.connectors()
    let operation = "look for \(name ?? "a display") at \(device.driver)"
    let list = all.map { "\($0.name) (\($0.status.rawValue))" }.joined(separator: ", ")
    if let name {
      guard let connector = all.first(where: { $0.name == name }) else {
        throw HeapError(
          .notFound, operation, at: device.path, cause: "the device has no such connector",
          fix: list.isEmpty ? nil : "use one of: \(list)")
      }
      return connector
    }
    guard let lit = all.first(where: \.isLit) else {
      throw HeapError(
        .notFound, operation, at: device.path,
        cause: list.isEmpty ? "the device has no connector" : "no display is connected: \(list)",
        fix: list.isEmpty ? "use another --device" : "plug a display in")
    }
    return lit
  }

  static func mode(
    _ name: String?, of connector: Connector, _ device: borrowing DRMDevice
  ) throws(HeapError) -> DisplayMode {
    let operation = "choose a mode of \(connector.name) at \(device.driver)"
    guard let preferred = connector.preferredMode else {
      throw HeapError(
        .notFound, operation, at: device.path,
        cause: "the connector has no modes; it is \(connector.status.rawValue)",
        fix: "plug a display in, or use another --connector")
    }
    guard let name else { return preferred }
    let found = connector.modes.first {
      name == "\($0)" || name == "\($0.size.width)x\($0.size.height)"
    }
    guard let found else {
      throw HeapError(
        .notFound, operation, at: device.path, cause: "there is no mode \(name)",
        fix: "use one of: " + connector.modeNames.joined(separator: " "))
    }
    return found
  }

  private static func isLit(_ node: DRMNode) -> Bool {
    guard node.hasConnectors, let device = try? DRMDevice(path: node.path.string) else {
      return false
    }
    return (try? device.connectors())?.contains(where: \.isLit) ?? false
  }
}

extension Connector {
  fileprivate var isLit: Bool { status != .disconnected && !modes.isEmpty }

  /// Each once: modes of one size differ in their blanks too.
  fileprivate var modeNames: [String] {
    modes.map { "\($0)" }.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }
}
