internal import CLibrary
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import LinuxHeapsV4L2
internal import SystemPackage

/// Devices that take buffers: DRM by PRIME, V4L2 by DMABUF.
enum ImporterExamination {
  static func findings(_ machine: Machine, _ trial: Trial) -> [Finding] {
    let cards = machine.files.entries("/dev/dri").filter(isCard).map { "/dev/dri/\($0)" }
    let cameras = machine.files.entries("/dev").filter(isCamera).map { "/dev/\($0)" }
    guard !cards.isEmpty || !cameras.isEmpty else { return [without(machine)] }
    var findings =
      closed(cards, "drm", machine) + closed(cameras, "video4linux", machine)
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
    func isOpen(_ path: String) -> Bool { machine.files.openingError(path, O_RDWR) == nil }
    for path in cards where isOpen(path) { note(importing.drm(path)) }
    for path in cameras where isOpen(path) { note(importing.camera(path)) }
    if !taken.isEmpty {
      findings.insert(
        Finding(
          .ok, .importers, "import.taken",
          seen: "a buffer was taken by " + taken.joined(separator: ", "),
          why: "each was given one of \(importing.source), and gave it back"), at: 0)
    }
    return findings
  }

  private static func isCard(_ name: String) -> Bool {
    name.hasPrefix("card") || name.hasPrefix("renderD")
  }

  private static func isCamera(_ name: String) -> Bool {
    name.hasPrefix("video") && name.dropFirst(5).allSatisfy(\.isNumber) && name.count > 5
  }

  /// The machine shows no device: the kernel has none, or those that it has are not given to who asks, e.g. a container.
  private static func without(_ machine: Machine) -> Finding {
    let files = machine.files
    func registered(
      _ kind: String, _ folder: String, _ isDevice: (String) -> Bool
    ) -> [(kind: String, path: String, number: String)] {
      files.entries("/sys/class/\(kind)").filter(isDevice).sorted().compactMap { name in
        // A card's connectors lie beside it, and are no devices.
        files.line("/sys/class/\(kind)/\(name)/dev").map { (kind, "\(folder)/\(name)", $0) }
      }
    }
    let all = registered("drm", "/dev/dri", isCard) + registered("video4linux", "/dev", isCamera)
    // Buffers are imported on a render node, too, which needs no right to show anything.
    if let one = all.first(where: { $0.path.holds("renderD") }) ?? all.first,
      let refusal = machine.surroundings.refusal(
        opening: one.path, registered: one.number, kind: one.kind, isWritten: true)
    {
      return Finding(
        .warning, .importers, "import.\(refusal.cause.rawValue)",
        seen:
          "the kernel has \(all.map(\.path).joined(separator: ", ")); \(one.path) \(refusal.seen)",
        why: "\(refusal.why); no device here can take a buffer", fix: refusal.fix)
    }
    return Finding(
      .warning, .importers, "import.no-device",
      seen: "there is no DRM or V4L2 device (/dev/dri, /dev/video*)",
      why: "no device can take a buffer: what was allocated can be used by processes only",
      fix: machine.configuration?["CONFIG_DRM_VGEM"] == .off
        ? Fix.kernelOptions(["DRM", "DRM_VGEM"], machine)
        : Fix.load(
          .vgem, machine, note: "a virtual one, to try imports with; yours needs its driver"))
  }

  private static func count(_ number: Int, _ one: String) -> String {
    "\(number) \(one)\(number == 1 ? "" : "s")"
  }

  /// - Parameter kind: The devices' name in /proc/devices.
  private static func closed(
    _ paths: [String], _ kind: String, _ machine: Machine
  ) -> [Finding] {
    let refused = paths.compactMap { path in
      machine.surroundings.refusal(opening: path, kind: kind, isWritten: true).map {
        (path: path, refusal: $0)
      }
    }
    return refused.grouped { "\($0.refusal.cause) \($0.refusal.seen)" }.map { group in
      let (refusal, paths) = (group[0].refusal, group.map(\.path))
      let seen = "\(paths.joined(separator: ", ")) \(refusal.seen)"
      if refusal.cause == .openFailed {
        return Finding(
          .warning, .importers, "import.open-failed", seen: seen,
          why: "no buffer can be given to the device",
          fix:
            "ls -l \(paths.joined(separator: " ")); grep \(kind) /proc/devices; sudo dmesg | tail  # whether its driver is there, and what it said"
        )
      }
      let id =
        refusal.isDenial
        ? "closed" : refusal.cause == .deviceCGroup ? "device-cgroup" : "open-failed"
      return Finding(
        .warning, .importers, "import.\(id)", seen: seen,
        why: "\(refusal.why); this user's buffers cannot be given to the device",
        fix: Fix.joined(group.map(\.refusal.fix)))
    }
  }
}

/// Whether one device takes a buffer, found out by giving it one and taking it back.
struct ImportTrial {
  enum Outcome {
    /// What took a buffer of which heap.
    case taken(String)
    case finding(Finding)
    /// Not a device for buffers.
    case nothing
  }

  /// The heap whose buffers are tried: a contiguous one where there is one, because every importer
  /// can take those.
  private let heap: HeapNode?

  /// Nil where no buffer can be had to try with.
  init?(_ trial: Trial) {
    heap = trial.working.first { $0.entry?.role == .contiguous } ?? trial.working.first
    guard heap != nil || UDMABufHeap.isUsable else { return nil }
  }

  var source: String { heap?.name ?? UDMABufHeap.name }

  private func buffer(_ size: UInt64) throws(HeapError) -> VMO {
    guard let heap else {
      return try UDMABufHeap().allocateVmo(
        size: size, settings: SingleBufferSettings(), bufferCollectionID: 0, bufferIndex: 0)
    }
    let fd = try attempt("allocate \(size.asByteCount)", at: heap.path) { () throws(Errno) in
      try Trial.buffer(of: heap, size: size)
    }
    return try VMO(adopting: fd)
  }

  // MARK: DRM

  func drm(_ path: String) -> Outcome {
    do throws(HeapError) {
      let device = try DRMDevice(path: path)
      let buffer = try buffer(pageSize)
      do throws(Errno) {
        _ = try device.importBuffer(buffer)
        return .taken("\(path) (\(device.driver))")
      } catch {
        return .finding(
          refused("\(path) (\(device.driver))", "\(error)", pageSize) {
            do throws(Errno) { _ = try device.importBuffer($0) } catch { return false }
            return true
          })
      }
    } catch {
      return .finding(failed(path, error))
    }
  }

  // MARK: V4L2

  func camera(_ path: String) -> Outcome {
    do throws(HeapError) {
      let device = try VideoDevice(path)
      let name = "\(path) (\(device.driver))"
      guard device.kind == .capture else { return .nothing }
      if device.takesDMABuf == false {
        return .finding(
          Finding(
            .note, .importers, "import.camera-without-dmabuf",
            seen: "\(name) does not accept dma-bufs",
            why: "its frames have to be copied into buffers",
            fix: "uname -r  # most drivers that are built on videobuf2 do; a newer kernel's may"))
      }
      let camera = try CaptureDevice(path)
      // The present format: to set another one would outlast this.
      var queue = try camera.makeQueue(capacity: 1)
      let buffer = try buffer(queue.format.byteCount)
      do throws(HeapError) {
        try queue.enqueue(buffer)
        return .taken(name)
      } catch {
        return .finding(
          refused(name, error.cause, queue.format.byteCount) {
            do throws(HeapError) { try queue.enqueue($0) } catch { return false }
            return true
          })
      }
    } catch  where error.errno == .resourceBusy {
      return .finding(
        Finding(
          .note, .importers, "import.camera-busy", seen: "\(path) is in use", why: error.cause,
          fix: "fuser -v \(path)"))
    } catch {
      return .finding(failed(path, error))
    }
  }

  // MARK: Findings

  /// - Parameter isTaken: Whether the device takes another buffer of the size.
  private func refused(
    _ device: String, _ error: String, _ size: UInt64, isTaken: (consuming VMO) -> Bool
  ) -> Finding {
    guard heap?.entry?.role == .contiguous else {
      let seen = "\(device) refuses a buffer of \(source): \(error)"
      // No heap of a node, and contiguous all the same.
      if let vmo = try? HugeHeap().allocate(byteCount: size, contiguous: true), isTaken(vmo) {
        return Finding(
          .note, .importers, "import.contiguous-only",
          seen: "\(seen); it takes one of \(HugeHeap.name)",
          why: "the device needs contiguous memory, which huge pages are",
          fix: "heapctl alloc --contiguous --size \(size)  # such a buffer, of \(HugeHeap.name)")
      }
      return Finding(
        .warning, .importers, "import.needs-contiguous", seen: seen,
        why: "the device may need contiguous memory, and no contiguous heap could be used to try",
        fix: "heapctl alloc --contiguous --size \(size)  # says what contiguous memory lacks")
    }
    return Finding(
      .warning, .importers, "import.refused",
      seen: "\(device) refuses a contiguous buffer of \(source): \(error)",
      why:
        "the driver of this kernel imports no buffers of heaps: only its own, exported, can be shared",
      fix:
        "uname -r  # look whether a newer kernel's driver imports (bochs-drm of 6.12 imports none, that of 7.3 does)"
    )
  }

  private func failed(_ path: String, _ error: HeapError) -> Finding {
    Finding(
      .warning, .importers, "import.untried", seen: "\(path) could not be tried: \(error.cause)",
      why: "nothing is known of its imports",
      fix: error.fix ?? "sudo dmesg | tail  # what its driver said")
  }
}
