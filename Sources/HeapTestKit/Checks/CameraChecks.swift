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
      guard let camera = try CameraTrial.demanding() else {
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
      "each camera streams into the buffer, or wants contiguous memory, and lets go",
      on: dmaBufs
    ) { bench in
      let paths = CameraTrial.paths()
      if paths.isEmpty { throw Skip(reason: "no camera here takes dma-bufs (modprobe vivid)") }
      for path in paths {
        let camera = try CameraTrial.present(path)
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
