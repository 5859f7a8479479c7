import Foundation
import HeapTestKit
import LinuxHeaps
import LinuxHeapsDRM
import LinuxHeapsV4L2
import SystemPackage
import TestSupport
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
          error: "heapctl: open a video device (/dev/null): it is not a V4L2 device "
            + "[Inappropriate ioctl for device, errno 25]; WRONG_TYPE. "
            + "To fix it: use a /dev/videoN\n", status: 69))
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
    let file = SavedPicture()
    let camera = Self.cameras[index]
    let run = try Run.heapctl(
      "camera", "--device", camera.path, "--frames", "2", "--heap", "system", "--size",
      "320x180", "--format", "YUYV", "--save", file.path)
    // A guest's processor may be too slow for a camera that waits for nobody.
    let text = run.output.replacing(#/[0-9.]+ a second; [0-9]+ lost/#, with: "R a second; N lost")
    #expect(
      text == """
        \(camera.card) (\(camera.path), vivid): 320x180 YUYV
          into 4 buffers of 116 KiB of system: written by the device, not copied
          2 frames, R a second; N lost, 0 damaged; 225 KiB
          the last frame is in \(file.path)

        """)
    #expect(run.error == "")
    #expect(run.status == 0)
    let picture = try file.picture()
    #expect(picture.width == 320 && picture.height == 180)
  }

  /// vivid's own picture: bars of 75 % white, yellow, cyan, green, magenta, red, blue and black.
  @Test(
    .enabled(if: needsMemory, "needs vivid as in Tests/Kernel/boot.sh, and contiguous memory"),
    arguments: ["XR24", "AR24", "RGB3", "BGR3", "RGBP", "YUYV", "UYVY", "NV12", "GREY"])
  func `a saved frame has the camera's colours, whatever its format`(_ format: String) throws {
    let file = SavedPicture()
    let run = try Run.heapctl(
      "camera", "--device", Self.cameras[1].path, "--frames", "1", "--size", "320x180",
      "--format", format, "--save", file.path)
    #expect(run.status == 0, "\(run.error)")
    let picture = try file.picture()
    let colors = (0..<8).map { picture.color(x: 20 + 40 * $0, y: 150) }
    let bars = [0, 1, 2, 3, 4, 5, 6, 7].map { bar in
      [bar & 2 == 0, bar & 4 == 0, bar & 1 == 0].map { $0 ? 191 : 0 }
    }
    for (color, bar) in zip(colors, bars) {
      // vivid makes grey by Rec. 709's luma, in full range: 190 176 149 136 54 40 13 0 on Linux 7.3.
      let grey = (2126 * bar[0] + 7152 * bar[1] + 722 * bar[2]) / 10_000
      let wanted = format == "GREY" ? [grey, grey, grey] : bar
      #expect(zip(color, wanted).allSatisfy { abs($0 - $1) <= 8 }, "\(color) for \(wanted)")
    }
  }

  @Test(.enabled(if: needsMemory, "needs vivid as in Tests/Kernel/boot.sh, and contiguous memory"))
  func `what cannot be saved is told before a frame is taken`() throws {
    let words = ["camera", "--device", Self.cameras[1].path, "--frames", "1000000"]
    let nowhere = try Run.heapctl(words + ["--save", "/proc/none/frame.png"])
    #expect(nowhere.status == 1)
    #expect(
      nowhere.error == "heapctl: save a frame (/proc/none/frame.png): No such file or directory "
        + "[errno 2]; IO. To fix it: name a file in a folder that this user may write to\n")
    let strange = try Run.heapctl(words + ["--format", "NV24", "--save", "/tmp/frame.png"])
    #expect(strange.status == 69)
    #expect(strange.error.contains("heapctl does not convert this format"))
    #expect(strange.error.contains("To fix it: use --format with one of: XR24 "))
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

  /// Each frame has a number in it, so that no two are alike.
  @Test(.enabled(if: needsMemory && hasScreen, "needs vivid, vkms and contiguous memory"))
  func `the pixels on the screen are those captured`() throws {
    let screen = try #require(DRMNode.all().first { $0.driver == "vkms" && $0.kind == .primary })
    let file = SavedPicture()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = [
      "camera", "--device", Self.cameras[1].path, "--frames", "40", "--size", "640x480", "--heap",
      "system", "--show", "--screen", screen.path.string, "--save", file.path,
    ]
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    // The kernel tells of no checksums before the screen is lit.
    var shown: Set<String> = []
    while process.isRunning && shown.isEmpty {
      if let crc = try? DisplayCRC(of: screen.path.string) {
        shown = try crc.all { !process.isRunning }
      } else {
        usleep(1_000)
      }
    }
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    #expect(shown.count > 2)

    // The last frame, as it was saved, from another buffer.
    let picture = try #require(
      try Shown("--device", screen.path.string, "--mode", "640x480", "--image", file.pixelMap()))
    let saved = try DisplayCRC(of: screen.path.string).next()
    #expect(picture.end(by: SIGTERM).status == 0)
    #expect(shown.contains(saved))
  }

  @Test(
    .enabled(if: needsMemory, "needs vivid as in Tests/Kernel/boot.sh, and contiguous memory"),
    arguments: [false, true])
  func `interlaced frames are told, and the camera is set as before`(_ alternates: Bool) throws {
    let camera = try CameraInput(Self.cameras[1].path, .television(alternates: alternates))
    let before = try CaptureDevice(camera.path).format()
    #expect("\(before.field)" == (alternates ? "alternate" : "interlaced"))
    let devices = try #require(
      try Run.heapctl("devices", "--json").json["devices"] as? [String: Any])
    let device = try #require(
      (devices["video"] as? [[String: Any]])?.first { $0["path"] as? String == camera.path })
    #expect(device["interlaced"] as? Bool == true)
    #expect(device["present"] as? String == "\(before)")
    #expect(try Run.heapctl("devices").output.contains("  set to \(before)\n"))
    let words = [
      "camera", "--device", camera.path, "--frames", "2", "--heap", "/dev/dma_heap/system",
    ]
    let run = try Run.heapctl(words)
    #expect(run.status == 0, "\(run.error)")
    #expect(
      run.output.hasPrefix(
        "\(Self.cameras[1].card) (\(camera.path), vivid): \(before.width)x\(before.height) "
          + "\(before.pixelFormat), interlaced: every other line is of another moment\n"),
      "\(run.output)")
    let report = try Run.heapctl(words + ["--json"]).json["camera"] as? [String: Any]
    #expect(report?["field"] as? String == "interlaced")
    #expect(try CaptureDevice(camera.path).format() == before)
  }

  /// Of that input the camera makes any size, also one that is larger than the largest mode.
  @Test(.enabled(if: needsMemory && hasScreen, "needs vivid, vkms and contiguous memory"))
  func `a frame that no mode holds is refused with the sizes that go`() throws {
    let camera = try CameraInput(Self.cameras[1].path, .television(alternates: false))
    let words = [
      "camera", "--device", camera.path, "--frames", "2", "--format", "XR24", "--show",
      "--screen", "vkms", "--size",
    ]
    let run = try Run.heapctl(words + ["4800x2400"])
    #expect(run.status == 69)
    #expect(run.error.contains(": show 4800x2400 XR24 interlaced at Virtual-1 (/dev/dri/card"))
    #expect(run.error.contains("): the screen has no mode as large as that; "), "\(run.error)")
    let advice = try #require(run.error.components(separatedBy: "use --size with one of: ").last)
    let sizes = advice.split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(sizes.contains("640x480") && !sizes.contains("4800x2400"), "\(run.error)")
    #expect(try Run.heapctl(words + [try #require(sizes.last)]).status == 0)
  }

  /// vivid's widths are multiples of four: 1366x768 is within the range, and is made 1364x768.
  @Test(.enabled(if: needsMemory && hasScreen, "needs vivid, vkms and contiguous memory"))
  func `of a range of sizes those are shown that the camera makes`() throws {
    let camera = try CameraInput(Self.cameras[1].path, .hdmi)
    try CaptureDevice(camera.path).setFormat(width: 1364, height: 768, .xr24)
    let run = try Run.heapctl(
      "camera", "--device", camera.path, "--frames", "2", "--show", "--screen", "vkms", "--json")
    #expect(run.status == 0, "\(run.error)")
    let report = try #require(try run.json["camera"] as? [String: Any])
    let screen = try #require(report["screen"] as? [String: Any])
    let size = "\(report["width"] ?? 0)x\(report["height"] ?? 0)@"
    #expect((screen["mode"] as? String)?.hasPrefix(size) == true, "\(report)")
  }

  @Test(.enabled(if: needsMemory && hasScreen, "needs vivid, vkms and contiguous memory"))
  func `a format that the screen has not is refused with those that go`() throws {
    let words = [
      "camera", "--device", Self.cameras[1].path, "--frames", "2", "--size", "640x480", "--show",
      "--screen", "vkms", "--format",
    ]
    let run = try Run.heapctl(words + ["YUYV"])
    #expect(run.status == 69)
    #expect(run.error.contains("): vkms does not display this format; "), "\(run.error)")
    let advice = run.error.components(separatedBy: "use --format with one of: ").last ?? ""
    let formats = advice.split(whereSeparator: \.isWhitespace).map(String.init)
    #expect(formats.contains("XR24") && !formats.contains("YUYV"), "\(run.error)")
    #expect(try Run.heapctl(words + [try #require(formats.last)]).status == 0)
  }

  @Test(
    .enabled(if: needsMemory, "needs vivid as in Tests/Kernel/boot.sh, and contiguous memory"),
    arguments: [SIGINT, SIGTERM])
  func `a signal ends it, and the camera is set as before`(_ signal: CInt) throws {
    let path = Self.cameras[1].path
    try CaptureDevice(path).setFormat(width: 640, height: 360, .yuyv)
    let run = try Run.heapctl(
      "camera", "--device", path, "--frames", "1000000", "--size", "320x180",
      through: ["/usr/bin/timeout", "--preserve-status", "-s", "\(signal)", "10"])
    #expect(run.status == 128 + signal)
    #expect(run.output.hasSuffix("  ended by a signal\n"), "\(run)")
    #expect(try CaptureDevice(path).format().description == "640x360 YUYV")
  }

  /// No mode of vkms has 640x360 pixels; the camera has another size of a mode.
  @Test(.enabled(if: needsMemory && hasScreen, "needs vivid, vkms and contiguous memory"))
  func `any frame is shown, and the camera is set as before`() throws {
    let path = Self.cameras[1].path
    try CaptureDevice(path).setFormat(width: 640, height: 360, .yuyv)
    let words = [
      "camera", "--device", path, "--frames", "3", "--show", "--screen", "vkms", "--json",
    ]
    for (size, shown, isPlaced) in [(nil, "640x480", false), ("640x360", "640x360", true)] {
      let run = try Run.heapctl(words + (size.map { ["--size", $0] } ?? []))
      #expect(run.status == 0, "\(run.error)")
      let camera = try #require(try run.json["camera"] as? [String: Any])
      #expect("\(camera["width"] ?? 0)x\(camera["height"] ?? 0)" == shown)
      #expect(camera["field"] as? String == "progressive")
      let screen = try #require(camera["screen"] as? [String: Any])
      #expect(screen["placed"] as? Bool == isPlaced)
      #expect((screen["mode"] as? String)?.hasPrefix("640x480@") == true)
      #expect(screen["recycledByFence"] as? Int == 2)
      #expect(try CaptureDevice(path).format().description == "640x360 YUYV")
    }
  }
}
