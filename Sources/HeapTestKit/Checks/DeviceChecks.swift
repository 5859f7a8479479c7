internal import CHeapPeer
internal import CLibrary
internal import LinuxHeaps
internal import LinuxHeapsDRM
internal import SystemPackage

extension HeapCheck {
  static let devices: [HeapCheck] = [
    HeapCheck(
      "contiguity",
      "memory said to be contiguous streams from a camera that needs it so; other memory is let go",
      on: dmaBufs
    ) { bench in
      guard var camera = try CameraTrial.demanding() else {
        throw Skip(
          reason: "no camera here needs contiguous memory "
            + "(as root: modprobe vivid allocators=1 on a kernel that has it)")
      }
      let outcome = try camera.run(bench)
      bench.note(DeviceAnswer(camera, outcome))
      // Other memory may be in one piece by luck.
      if outcome == .refused {
        try expect(
          !bench.isContiguous, "\(camera.path) takes a buffer of \(camera.width)x\(camera.height)")
      }
    },

    HeapCheck(
      "camera-import",
      "each camera streams into the buffer or requires contiguous memory, and releases it",
      on: dmaBufs
    ) { bench in
      let paths = CameraTrial.paths()
      if paths.isEmpty {
        throw Skip(reason: "no camera here takes dma-bufs (\(KernelModule.vivid.fix))")
      }
      for path in paths {
        var camera = try CameraTrial(path)
        let outcome = try camera.run(bench)
        bench.note(DeviceAnswer(camera, outcome))
        if outcome == .refused {
          try expect(!bench.isContiguous, "\(path) takes contiguous memory")
        }
        // The next camera's buffers have the same names.
        try bench.eventuallyReclaimed("\(path) let go")
      }
    },

    HeapCheck(
      "drm-import", "each DRM device imports the buffer or refuses it, and lets go", on: dmaBufs
    ) { bench in
      let nodes = DRMNode.all().filter { $0.refusal == nil && $0.driver != nil }
      if nodes.isEmpty { throw Skip(reason: "no DRM device that this process may open") }
      let vmo = try bench.allocate()
      let before = try bench.referenceCount(of: vmo)
      for node in nodes {
        let device = try DRMDevice(path: node.path.string)
        do {
          let handle = try device.importBuffer(vmo)
          let held = try bench.referenceCount(of: vmo)
          _ = consume handle
          bench.note(DeviceAnswer(node, "imports"))
          try expect((held ?? 0) > (before ?? 0), "count rises with an import into \(node.path)")
        } catch let error as Errno {
          try expect(
            [.invalidArgument, .notSupported, .badAddress, .noMemory, .permissionDenied]
              .contains(error), "\(node.path) refuses in a known way, and not by \(error)")
          bench.note(DeviceAnswer(node, "refuses: \(error)"))
        }
        try bench.eventually("\(node.path) lets go of the buffer") {
          try bench.referenceCount(of: vmo) == before
        }
      }
    },
  ]
}

extension CheckBench {
  fileprivate var isContiguous: Bool {
    subject.settings.bufferSettings?.isPhysicallyContiguous == true
  }
}

extension HeapCheck {
  static let imports: [HeapCheck] = [
    HeapCheck(
      "child-by-import", "a buffer that a DRM device imported lives until its GEM handle is closed",
      on: dmaBufs
    ) { bench in
      guard let device = DRMDevice(drivers: ["vgem", "vkms"]) else {
        throw Skip(
          reason:
            "no vgem or vkms device that this process may open (as root: \(KernelModule.vgem.fix))"
        )
      }
      let vmo = try bench.allocate()
      let count = try bench.referenceCount(of: vmo)
      let handle = try device.importBuffer(vmo)
      try expect(
        (try bench.referenceCount(of: vmo) ?? 0) > (count ?? 0),
        "count rises with an import into \(device.driver)"
      )
      _ = consume vmo
      try bench.expectStillLive(while: "a GEM handle is open")
      _ = consume handle
      try bench.eventuallyReclaimed("the GEM handle is closed")
    }
  ]
}

extension HeapCheck {
  static let fences: [HeapCheck] = [
    HeapCheck(
      "device-fences", "who uses a buffer can wait for the device that is still at it", on: dmaBufs
    ) { bench in
      let vmo = try bench.allocate()
      try expect(
        try vmo.fence(before: .writing).isSignalled(), "nobody is at work on a new buffer")
      guard let reader = SoftwareTimeline(), let writer = SoftwareTimeline() else {
        throw Skip(
          reason: "no fence to signal by hand: as root, with debugfs and CONFIG_SW_SYNC, there is")
      }
      try vmo.add(try reader.fence(at: 1), for: .reading)
      try expect(
        try vmo.fence(before: .reading).isSignalled(), "a reader does not wait for readers")
      let beforeWriting = try vmo.fence(before: .writing)
      try expect(try !beforeWriting.isSignalled(), "a writer waits for readers")

      try vmo.add(try writer.fence(at: 1), for: .writing)
      let beforeReading = try vmo.fence(before: .reading)
      try bench.expectRefusal(.timedOut, "a wait that is too short") {
        try beforeReading.wait(for: .milliseconds(1))
      }
      let both = try beforeReading.merged(with: beforeWriting, name: "both")
      let info = try both.info()
      try expectEqual(info.name, "both", "the name of merged fences")
      try expectEqual(info.state, .active, "their state")
      try expectEqual(info.points.map(\.state), [.active, .active], "their points' states")

      try writer.advance()
      try beforeReading.wait(for: bench.subject.patience)
      try expect(try !both.isSignalled(), "merged fences wait for the last")
      try reader.advance()
      try both.wait(for: bench.subject.patience)
      try expectEqual(try both.info().state, .signalled, "the state at the end")
      try vmo.fill(1)
    }
  ]
}

/// A device that does nothing, at its holder's pace (`CONFIG_SW_SYNC`,
/// drivers/dma-buf/sw_sync.c): its fences signal when told. Closed, it fails those that have not.
struct SoftwareTimeline: ~Copyable {
  private let fd: OwnedFD

  /// Nil where the kernel has none, or debugfs is not mounted or closed to this user.
  init?() {
    do throws(Errno) {
      fd = try .open("/sys/kernel/debug/sync/sw_sync", O_RDWR)
    } catch {
      return nil
    }
  }

  /// `SW_SYNC_IOC_CREATE_FENCE`: signals when the timeline has come to `value`.
  func fence(at value: UInt32) throws -> Fence {
    // struct sw_sync_create_fence_data: __u32 value; char name[32]; __s32 fence.
    var words = [UInt32](repeating: 0, count: 10)
    words[0] = value
    let timeline = fd.rawValue
    _ = try call { unsafe CHeapPeer_ioctl(timeline, 0xC028_5700, &words) }
    return try Fence(adopting: OwnedFD(adopting: CInt(bitPattern: words[9])))
  }

  /// `SW_SYNC_IOC_INC`.
  func advance() throws(Errno) {
    var step: UInt32 = 1
    let timeline = fd.rawValue
    _ = try call { unsafe CHeapPeer_ioctl(timeline, 0x4004_5701, &step) }
  }
}
