internal import LinuxHeaps
internal import SystemPackage

/// Devices that take buffers: DRM by PRIME, V4L2 by DMABUF.
enum ImporterExamination {
  static func findings(_ machine: Machine, _ trial: Trial) -> [Finding] {
    let cards = machine.files.entries("/dev/dri").filter {
      $0.hasPrefix("card") || $0.hasPrefix("renderD")
    }.map { "/dev/dri/\($0)" }
    let cameras = machine.files.entries("/dev").filter {
      $0.hasPrefix("video") && $0.dropFirst(5).allSatisfy(\.isNumber) && $0.count > 5
    }.map { "/dev/\($0)" }
    guard !cards.isEmpty || !cameras.isEmpty else {
      return [
        Finding(
          .warning, .importers, "import.no-device",
          seen: "no DRM or V4L2 device is here (/dev/dri, /dev/video*)",
          why: "no device can take a buffer: what was allocated can be used by processes only",
          fix: "sudo modprobe vgem  # a virtual one, to try imports with; yours needs its driver")
      ]
    }
    return closed(cards + cameras, machine)
  }

  private static func closed(_ paths: [String], _ machine: Machine) -> [Finding] {
    var groups: [(node: NodeStatus, paths: [String])] = []
    for path in paths where machine.files.openingError(path) == .permissionDenied {
      guard let node = NodeStatus(machine.files.path(path)) else { continue }
      if let index = groups.firstIndex(where: { "\($0.node)" == "\(node)" }) {
        groups[index].paths.append(path)
      } else {
        groups.append((node, [path]))
      }
    }
    return groups.map { node, paths in
      Finding(
        .warning, .importers, "import.closed",
        seen: "\(machine.identity.name) may not open \(paths.joined(separator: ", ")): \(node)",
        why: "this user's buffers cannot be given to the device",
        fix: node.mode & 0o040 != 0 && node.groupID != 0
          ? Fix.join(node.group, machine.identity.name)
          : "sudo chmod 660 \(paths.joined(separator: " "))")
    }
  }
}
