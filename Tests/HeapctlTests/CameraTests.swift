import Foundation
import LinuxHeaps
import LinuxHeapsDRM
import LinuxHeapsV4L2
import Testing

@Suite(.serialized) struct CameraTests {
  private static let cameras = VideoDevice.all().filter {
    $0.driver == "vivid" && $0.kind == .capture
  }
  private static let heaps = Set(HeapCatalog().heaps().map(\.role))
  /// As Tests/Kernel/boot.sh asks for it: the first needs contiguous memory.
  private static let needsMemory = cameras.count == 3 && heaps.contains(.contiguous)
  private static let hasScreen = DRMNode.all().contains { $0.driver == "vkms" }

  @Test(arguments: [
    ["--size", "12"], ["--format", "XR245"], ["--frames", "0"], ["--buffers", "1"],
    ["--screen", "vkms"],
  ])
  func `wrong usage is told`(_ words: [String]) throws {
    let run = try Run.heapctl(["camera", "--device", "/dev/video0"] + words)
    #expect(run.status == 64)
    #expect(run.error.contains(words[0]))
  }

  @Test func `a device that is not there, or no camera, is named`() throws {
    let absent = try Run.heapctl("camera", "--device", "/dev/video999")
    #expect(absent.status == 69)
    #expect(
      absent.error.hasPrefix("heapctl: open a video device (/dev/video999): no such device ["))
    let other = try Run.heapctl("camera", "--device", "/dev/null")
    #expect(
      other
        == Run(
          output: "",
          error: "heapctl: open a video device (/dev/null): it is no V4L2 device "
            + "[Inappropriate ioctl for device, errno 25]; WRONG_TYPE. "
            + "To fix it: use a /dev/videoN\n", status: 1))
  }

  @Test(.enabled(if: needsMemory, "needs vivid as in Tests/Kernel/boot.sh, and contiguous memory"))
  func `frames go into contiguous memory where the camera needs it`() throws {
    let path = try #require(Self.cameras.first).path
    let words = [
      "camera", "--device", path, "--frames", "3", "--size", "1280x720", "--format", "XR24",
    ]
    let refused = try Run.heapctl(words + ["--heap", "system"])
    #expect(refused.status == 69)
    #expect(
      refused.error.contains("the device needs one physically contiguous piece, which this buffer"))
    let run = try Run.heapctl(words + ["--json"])
    #expect(run.status == 0, "\(run.error)")
    #expect(run.error.hasSuffix("trying contiguous memory\n"))
    let camera = try #require(try run.json["camera"] as? [String: Any])
    #expect(camera["frames"] as? Int == 3)
    #expect(camera["contiguous"] as? Bool == true)
    #expect(camera["bytes"] as? Int == 3 * 1280 * 720 * 4)
    #expect(camera["damagedFrames"] as? Int == 0)
    #expect(camera["interrupted"] as? Bool == false)
  }

  @Test(
    .enabled(if: needsMemory, "needs vivid as in Tests/Kernel/boot.sh, and contiguous memory"),
    arguments: [1, 2])
  func `a camera of either interface takes the system heap, and a frame is saved`(
    _ index: Int
  ) throws {
    let file = FileManager.default.temporaryDirectory
      .appendingPathComponent("camera-\(UUID().uuidString).png")
    defer { try? FileManager.default.removeItem(at: file) }
    let run = try Run.heapctl(
      "camera", "--device", Self.cameras[index].path, "--frames", "2", "--heap", "system", "--size",
      "320x180", "--format", "YUYV", "--save", file.path)
    #expect(run.status == 0, "\(run.error)")
    let lines = run.output.split(separator: "\n").map(String.init)
    #expect(lines.count == 4)
    #expect(lines[0].hasSuffix("(\(Self.cameras[index].path), vivid): 320x180 YUYV"))
    #expect(
      lines[1]
        == "  into 4 buffers of 116 KiB of system: written by the device, not copied")
    #expect(lines[3] == "  the last frame is in \(file.path)")
    let bytes = try [UInt8](Data(contentsOf: file))
    #expect(bytes.starts(with: [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]))
    // One stored deflate stream: rows of a filter byte and 960 bytes, in blocks of 65,535.
    let raw = 180 * (1 + 320 * 3)
    #expect(bytes.count == 8 + 25 + 12 + 12 + 2 + raw + (raw + 65_534) / 65_535 * 5 + 4)
  }

  @Test(.enabled(if: needsMemory && hasScreen, "needs vivid, vkms and contiguous memory"))
  func `frames are shown without a copy, and buffers come back by fence`() throws {
    let run = try Run.heapctl(
      "camera", "--device", Self.cameras[1].path, "--frames", "6", "--size", "640x480", "--show",
      "--screen", "vkms", "--json")
    #expect(run.status == 0, "\(run.error)")
    let camera = try #require(try run.json["camera"] as? [String: Any])
    #expect(camera["frames"] as? Int == 6)
    #expect(camera["format"] as? String == "XR24")
    let screen = try #require(camera["screen"] as? [String: Any])
    #expect(screen["driver"] as? String == "vkms")
    #expect((screen["mode"] as? String)?.hasPrefix("640x480@") == true)
    #expect(screen["flips"] as? Int == 5)
    #expect(screen["recycledByFence"] as? Int == 5)
    #expect(screen["recycledByEvent"] as? Int == 0)
  }
}
