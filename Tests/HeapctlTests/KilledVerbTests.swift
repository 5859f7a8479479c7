import Foundation
import LinuxHeaps
import LinuxHeapsDRM
import LinuxHeapsV4L2
import TestSupport
import Testing

/// Whatever a verb is at when it is killed: the kernel takes back what it held.
@Suite(.serialized) struct KilledVerbTests {
  private static let hasScreen = DRMNode.all().contains { $0.driver == "vkms" }
  /// The camera that takes any memory, as Tests/Kernel/boot.sh asks for it.
  private static let camera = VideoDevice.all().first {
    $0.driver == "vivid" && $0.kind == .capture && $0.bus == "platform:vivid-001"
  }

  /// Every verb that has buffers, at something that takes long enough to be killed at.
  static let verbs: [[String]] = {
    var verbs = [["demo"]]
    verbs += TestHeaps.names.map { ["alloc", "--size", "1M", "--heap", $0, "--hold"] }
    for heap in Set([TestHeaps.names[0], "memfd"]).sorted() {
      verbs.append(["verify", "--heap", heap])
      verbs.append(["bench", "--heap", heap, "--sizes", "1M", "--rounds", "1000"])
    }
    guard hasScreen else { return verbs }
    let screen = ["--size", "640x480", "--show", "--screen", "vkms"]
    verbs.append(["show", "--device", "vkms", "--mode", "640x480"])
    if let camera {
      let frames = ["camera", "--device", camera.path, "--frames", "1000", "--heap", "system"]
      verbs += [frames, frames + screen]
    }
    return verbs
  }()

  @Test(arguments: verbs)
  func `a kill at any moment leaves no process and no buffer`(_ words: [String]) throws {
    var start = ContinuousClock.now
    var first = try Victim(words)
    // Some verbs have a buffer one moment, and none the next, when they are killed; of a short one it can be missed.
    var held = first.buffers
    for _ in 0..<10 where held.isEmpty {
      if !first.isRunning {
        start = .now
        first = try Victim(words)
      }
      while first.isRunning && held.isEmpty {
        usleep(2_000)
        held = first.buffers
      }
    }
    guard !held.isEmpty else {
      Issue.record("it ended without a buffer: \(first.complaint)")
      return
    }
    let halfTime = ContinuousClock.now - start
    held.formUnion(first.kill())
    var victims = [first]
    // From the program's start to well after its first buffer.
    for _ in 0..<5 {
      let victim = try Victim(words)
      usleep(UInt32(halfTime / .microseconds(1) * Double.random(in: 0..<2)))
      held.formUnion(victim.kill())
      victims.append(victim)
    }
    let deadline = ContinuousClock.now + .seconds(60)
    while try Self.isLeft(victims, held), ContinuousClock.now < deadline { usleep(10_000) }
    #expect(victims.flatMap(\.survivors) == [])
    #expect(try Self.buffers().isDisjoint(with: held))
  }

  private static func isLeft(_ victims: [Victim], _ held: Set<UInt64>) throws -> Bool {
    try !victims.allSatisfy(\.survivors.isEmpty) || !buffers().isDisjoint(with: held)
  }

  /// The inodes of the machine's dma-bufs, as far as this user may know: memory of other kinds ends with
  /// the processes.
  private static func buffers() throws -> Set<UInt64> {
    let path = "/sys/kernel/debug/dma_buf/bufinfo"
    guard FileManager.default.isReadableFile(atPath: path) else { return [] }
    return Set(
      try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").compactMap { line in
        let fields = line.split(separator: "\t")
        return fields.count > 5 ? UInt64(fields[5]) : nil
      })
  }
}
