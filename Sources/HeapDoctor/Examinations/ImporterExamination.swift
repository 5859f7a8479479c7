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
    var findings =
      closed(cards + cameras, machine) + unopenable(cards, "drm", machine)
      + unopenable(cameras, "video4linux", machine)
    guard machine.isRunning else {
      return findings.isEmpty
        ? [
          Finding(
            .ok, .importers, "import.present",
            seen:
              "\(count(cards.count, "DRM device")) and \(cameras.count) of V4L2, each of which may be opened",
            why: "on the running machine each is given a buffer")
        ] : findings
    }
    guard let importing = ImportTrial(trial) else {
      return findings + [
        Finding(
          .note, .importers, "import.no-buffer",
          seen: "devices are here, and no heap gives a buffer to try them with",
          why: "once a heap does, this tells which of them take its buffers")
      ]
    }
    var taken: [String] = []
    func note(_ outcome: ImportTrial.Outcome) {
      switch outcome {
      case .taken(let device): taken.append(device)
      case .finding(let finding): findings.append(finding)
      case .nothing: break
      }
    }
    for path in cards where machine.files.openingError(path) == nil { note(importing.drm(path)) }
    for path in cameras where machine.files.openingError(path) == nil {
      note(importing.camera(path))
    }
    if !taken.isEmpty {
      findings.insert(
        Finding(
          .ok, .importers, "import.taken",
          seen: "a buffer was taken by " + taken.joined(separator: ", "),
          why: "each was given one of \(importing.source), and gave it back"), at: 0)
    }
    return findings
  }

  private static func count(_ number: Int, _ one: String) -> String {
    "\(number) \(one)\(number == 1 ? "" : "s")"
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

  /// Those that cannot be opened, and not for their mode.
  ///
  /// - Parameter kind: The devices' name in /proc/devices.
  private static func unopenable(
    _ paths: [String], _ kind: String, _ machine: Machine
  ) -> [Finding] {
    var groups: [(error: Errno, paths: [String])] = []
    for path in paths {
      guard let error = machine.files.openingError(path), error != .permissionDenied else {
        continue
      }
      if let index = groups.firstIndex(where: { $0.error == error }) {
        groups[index].paths.append(path)
      } else {
        groups.append((error, [path]))
      }
    }
    return groups.map { error, paths in
      let names = paths.joined(separator: ", ")
      return error == .notPermitted
        ? Finding(
          .warning, .importers, "import.device-cgroup",
          seen: "\(machine.identity.name) may not open \(names): open(2) answers EPERM",
          why:
            "a control group forbids the device, whatever its mode: the container's or unit's list of devices lacks it",
          fix: Fix.allowDevice(kind, paths, machine))
        : Finding(
          .warning, .importers, "import.open-failed", seen: "\(names) cannot be opened: \(error)",
          why: "no buffer can be given to the device",
          fix:
            "ls -l \(paths.joined(separator: " ")); grep \(kind) /proc/devices; sudo dmesg | tail  # whether its driver is there, and what it said"
        )
    }
  }
}
