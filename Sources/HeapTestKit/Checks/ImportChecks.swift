internal import LinuxHeaps
internal import LinuxHeapsDRM

extension HeapCheck {
  static let imports: [HeapCheck] = [
    HeapCheck(
      "child-by-import", "a buffer that a DRM device imported lives until its GEM handle is closed",
      on: dmaBufs
    ) { bench in
      guard let device = DRMDevice(drivers: ["vgem", "vkms"]) else {
        throw Skip(
          reason: "no vgem or vkms device that this process may open (modprobe vgem as root)")
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
