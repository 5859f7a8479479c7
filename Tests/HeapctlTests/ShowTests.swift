import Foundation
import HeapTestKit
import LinuxHeaps
import LinuxHeapsDRM
import SystemPackage
import TestSupport
import Testing

@Suite struct ShowTests {
  @Test(arguments: [["--format", "XR245"], ["--pattern", "stripes"], ["--seconds", "-1"]])
  func `wrong usage is told`(_ words: [String]) throws {
    let run = try Run.heapctl(["show"] + words)
    #expect(run.status == 64)
    #expect(run.error.contains(words[0]))
  }

  @Test func `a device that is not there is named`() throws {
    let run = try Run.heapctl("show", "--device", "/dev/dri/card99")
    #expect(run.status == 69)
    #expect(
      run.error.hasPrefix(
        "heapctl: open a DRM device (/dev/dri/card99): there is no such node [No such file or directory, errno 2]"
      ))
    #expect(run.error.contains("To fix it: "))
    #expect(run.output == "")
  }

  @Test func `a driver that is not there is named`() throws {
    let run = try Run.heapctl("show", "--device", "nodriver")
    #expect(run.status == 69)
    #expect(run.error.hasPrefix("heapctl: look for a device of nodriver (/dev/dri): there is no"))
    #expect(run.error.contains("To fix it: load the display's driver, or "))
  }

  @Test func `a file that is no device is refused`() throws {
    let run = try Run.heapctl("show", "--device", "/dev/null")
    #expect(run.status == 69)
    #expect(
      run.error.hasPrefix(
        "heapctl: open a DRM device (/dev/null): the file is not a DRM device; WRONG_TYPE. To fix it: "
      ))
  }

  @Test func `a picture that is not there is named`() throws {
    let run = try Run.heapctl("show", "--image", "/none.ppm")
    #expect(
      run
        == Run(
          output: "",
          error: "heapctl: read a picture (/none.ppm): No such file or directory [errno 2]; "
            + "NOT_FOUND. To fix it: name a PPM file that this user may read\n", status: 69))
  }

  @Test(arguments: ["", "P6 2 2 255\n123", "P3\n1 1\n255\n0 0 0\n", "P6 1 1 65535\n123456"])
  func `a file that is no picture is refused`(_ text: String) throws {
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("show-\(UUID().uuidString).ppm")
    try text.write(to: path, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: path) }
    let run = try Run.heapctl("show", "--image", path.path)
    #expect(run.status == 1)
    #expect(run.error.hasPrefix("heapctl: read a picture (\(path.path)): the file is no whole PPM"))
  }
}

/// On vkms, which composes in software and tells the checksum of each picture.
@Suite(.serialized, .enabled(if: DRMNode.all().contains { $0.driver == "vkms" }, "needs vkms"))
struct ShowOnScreenTests {
  private static let mode = ["--device", "vkms", "--mode", "640x480"]

  @Test(arguments: HeapCatalog().heaps().filter { $0.role != .protected }.map(\.name))
  func `a pattern from a heap is on the screen until a signal`(_ heap: String) throws {
    let device = try DRMNode.open("vkms")
    let expected = try checksum(of: .gradient, on: device)
    for signal in [SIGTERM, SIGINT, SIGHUP] {
      let shown = try #require(
        try Shown(
          "--device", "vkms", "--mode", "640x480", "--heap", heap, "--pattern", "gradient"))
      #expect(shown.json["driver"] as? String == "vkms")
      #expect(shown.json["device"] as? String == device.path)
      #expect(shown.json["mode"] as? String == "640x480@60")
      #expect(shown.json["format"] as? String == "XR24")
      #expect(shown.json["modifier"] as? String == "LINEAR")
      #expect(shown.json["heap"] as? String == heap)
      #expect(shown.json["kind"] as? String == "dma-buf")
      #expect(shown.json["sizeBytes"] as? Int == 640 * 480 * 4)
      #expect(
        shown.json["planes"] as? [[String: Int]] == [
          ["offset": 0, "bytesPerRow": 2560, "rows": 480]
        ])
      #expect(try DisplayCRC(of: device.path).next() == expected)
      let end = shown.end(by: signal)
      #expect(
        end.error.withoutChangingNumbers() == """
          shown by process N until SIGINT or SIGTERM
          the screen is as before; the buffer is given back and reclaimed

          """)
      #expect(end.status == 0 && !end.wasKilled)
      #expect(try isDark(device))
    }
  }

  /// The kernel takes the picture off the screen; whether it turns the screen off is the driver's choice.
  @Test func `a kill leaves no buffer`() throws {
    let shown = try #require(try Shown("--device", "vkms", "--mode", "640x480"))
    let name = try #require(shown.json["name"] as? String)
    #expect(try buffers().contains(name))
    #expect(shown.end(by: SIGKILL).wasKilled)
    let deadline = ContinuousClock.now + .seconds(60)
    while try buffers().contains(name) && ContinuousClock.now < deadline { usleep(10_000) }
    #expect(try !buffers().contains(name))
  }

  @Test func `text says what is shown, and how it ends`() throws {
    let path = try DRMNode.open("vkms").path
    let run = try Run.heapctl(
      ["show"] + Self.mode + [
        "--format", "RG16", "--heap", "/dev/dma_heap/system", "--seconds", "0",
      ])
    #expect(
      run.output.withoutChangingNumbers() == """
        vkms (\(path)) shows on Virtual-1, mode 640x480@60:
          640x480 RG16, modifier LINEAR: 480 rows of 1280 bytes at 0
          from 600 KiB of system, a dma-buf, name lh:ID.0: imported, not copied

        """)
    #expect(
      run.error.withoutChangingNumbers() == """
        shown by process N for 0 s
        the screen is as before; the buffer is given back and reclaimed

        """)
    #expect(run.status == 0)
  }

  @Test func `a PPM file is shown as it is`() throws {
    let device = try DRMNode.open("vkms")
    let path = FileManager.default.temporaryDirectory
      .appendingPathComponent("show-\(UUID().uuidString).ppm")
    var bytes = Data("P6\n# a picture\n640 480 255\n".utf8)
    for y in 0..<480 {
      for x in 0..<640 {
        let color = TestPattern.bars.color(x: x, y: y, width: 640, height: 480)
        bytes += [color.red, color.green, color.blue]
      }
    }
    try bytes.write(to: path)
    defer { try? FileManager.default.removeItem(at: path) }
    let expected = try checksum(of: .bars, on: device)
    let shown = try #require(
      try Shown("--device", "vkms", "--mode", "640x480", "--image", path.path))
    #expect(try DisplayCRC(of: device.path).next() == expected)
    #expect(shown.end(by: SIGTERM).status == 0)
  }

  @Test func `a device without displays says which has some`() throws {
    let vkms = try DRMNode.open("vkms").path
    let vgem = try DRMNode.open("vgem").path
    let run = try Run.heapctl("show", "--device", "vgem")
    #expect(run.status == 69)
    #expect(
      run.error.hasPrefix(
        "heapctl: look for displays of vgem (\(vgem)): the device has no connector"))
    #expect(run.error.contains("To fix it: use one of: "))
    #expect(run.error.contains("\(vkms) (vkms)"))
  }

  @Test(arguments: [
    (
      ["--heap", "memfd"],
      "give memory of memfd to a device: devices import dma-bufs, and this heap has none"
    ),
    (["--heap", "nosuch"], "(/dev/dma_heap/nosuch): no such heap"),
    (
      ["--format", "ZZZZ"],
      "ZZZZ out for Virtual-1 (/dev/dri/cardN): vkms does not display this format"
    ),
    (["--mode", "1x1"], "(/dev/dri/cardN): there is no mode 1x1"),
    (["--connector", "HDMI-A-9"], "(/dev/dri/cardN): the device has no such connector"),
  ])
  func `what cannot be is refused, with what can`(_ words: [String], _ cause: String) throws {
    let run = try Run.heapctl(["show", "--device", "vkms"] + words)
    #expect(run.status == 69)
    let said = run.error.replacingOccurrences(
      of: "/dev/dri/card[0-9]+", with: "/dev/dri/cardN", options: .regularExpression)
    #expect(said.contains(cause), "\(said)")
    #expect(said.contains("To fix it: use "))
  }

  @Test func `a display that another program has is not taken`() throws {
    let device = try DRMNode.open("vkms")
    let connector = try #require(try device.connectors().first)
    let scanout = try Scanout(
      device, connector: connector, mode: try #require(connector.preferredMode))
    let run = try Run.heapctl("show", "--device", "vkms")
    #expect(run.status == 77)
    #expect(run.error.contains("another program controls the display"))
    _ = consume scanout
  }

  /// Of the pattern in a dumb buffer, written by the processor.
  private func checksum(
    of pattern: TestPattern, on device: borrowing DRMDevice
  ) throws -> String {
    let connector = try #require(try device.connectors().first)
    let mode = try #require(connector.modes.first { $0.description == "640x480@60" })
    var scanout = try Scanout(device, connector: connector, mode: mode)
    let dumb = try device.dumbBuffer(width: 640, height: 480, bitsPerPixel: 32)
    let layout = try ImageLayout(.xr24, size: mode.size, bytesPerRow: dumb.bytesPerRow)
    let vmo = try dumb.export()
    let mapping = try vmo.map()
    var access = try mapping.writeAccess()
    var bytes = access.mutableBytes
    try #require(Painter(layout)).paint(pattern, into: &bytes)
    try access.end()
    try scanout.show(try device.framebuffer(of: dumb.handle, layout))
    let sum = try DisplayCRC(of: device.path).next()
    _ = consume scanout
    return sum
  }

  private func isDark(_ device: borrowing DRMDevice) throws -> Bool {
    try device.connectors().allSatisfy { !$0.isOn }
  }

  /// Every dma-buf of the machine.
  private func buffers() throws -> String {
    try String(contentsOfFile: "/sys/kernel/debug/dma_buf/bufinfo", encoding: .utf8)
  }
}

extension DRMNode {
  fileprivate static func open(_ driver: String) throws -> DRMDevice {
    let node = try #require(all().first { $0.kind == .primary && $0.driver == driver })
    return try DRMDevice(path: node.path.string)
  }
}
