internal import LinuxHeaps

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
