import Foundation
import LinuxHeaps
import LinuxHeapsDRM
import LinuxHeapsV4L2
import SystemPackage
import TestSupport
import Testing

@Suite(.serialized) struct DevicesTests {
  private static let nodes = DRMNode.all()
  private static let cameras = VideoDevice.paths()
  private static let vkms = nodes.first { $0.driver == "vkms" && $0.kind == .primary }
  private static let vivid = VideoDevice.all().first { $0.driver == "vivid" && $0.kind == .capture }

  private func devices(_ words: String...) throws -> [String: [[String: Any]]] {
    let run = try Run.heapctl(["devices", "--json"] + words)
    // What could not be tried is told there.
    #expect(run.status == 0 && (run.error == "" || words.first == "--try"), "\(run.error)")
    return try #require(try run.json["devices"] as? [String: [[String: Any]]])
  }

  @Test func `each node has its place`() throws {
    let devices = try devices()
    #expect(devices["drm"]?.map { $0["path"] as? String } == Self.nodes.map(\.path.string))
    #expect(devices["video"]?.map { $0["path"] as? String } == Self.cameras)
    let run = try Run.heapctl("devices")
    #expect(run.status == 0)
    if Self.nodes.isEmpty && Self.cameras.isEmpty {
      #expect(run.error.hasPrefix("there is no DRM or V4L2 device"))
    }
    for node in Self.nodes {
      #expect(run.output.contains("\(node.path) (\(node.driver ?? "?"))"))
    }
  }

  @Test func `a heap is of use with --try only`() throws {
    #expect(try Run.heapctl("devices", "--heap", "udmabuf").status == 64)
  }

  @Test(arguments: ["memfd", "opaque"])
  func `a heap without dma-bufs is refused, as by camera`(_ heap: String) throws {
    let run = try Run.heapctl("devices", "--try", "--heap", heap)
    #expect(
      run
        == Run(
          output: "",
          error: "heapctl: give memory of \(heap) to a device: devices import dma-bufs, and this "
            + "heap has none; NOT_SUPPORTED. To fix it: use a heap of /dev/dma_heap, or udmabuf\n",
          status: 69))
  }

  @Test(.enabled(if: vkms != nil, "needs vkms"))
  func `a display has connectors, modes and planes`() throws {
    let path = try #require(Self.vkms).path.string
    let vkms = try #require(try devices()["drm"]?.first { $0["path"] as? String == path })
    let connector = try #require((vkms["connectors"] as? [[String: Any]])?.first)
    #expect(connector["name"] as? String == "Virtual-1")
    #expect((connector["modes"] as? [String])?.contains { $0.hasPrefix("1024x768@") } == true)
    let planes = try #require(vkms["planes"] as? [[String: Any]])
    let primary = try #require(planes.first { $0["kind"] as? String == "primary" })
    let formats = try #require(primary["formats"] as? [[String: Any]])
    let xr24 = try #require(formats.first { $0["format"] as? String == "XR24" })
    #expect(xr24["modifiers"] as? [String] == ["LINEAR"])
  }

  @Test(.enabled(if: vivid != nil, "needs vivid"))
  func `a camera has formats, sizes, memory, and what it is set to`() throws {
    let camera = try #require(Self.vivid)
    let found = try #require(try devices()["video"]?.first { $0["path"] as? String == camera.path })
    #expect(found["driver"] as? String == "vivid")
    #expect(found["kind"] as? String == "capture")
    #expect(found["bus"] as? String == camera.bus)
    #expect((found["memory"] as? [String])?.contains("dmabuf") == true)
    #expect(found["present"] as? String == camera.format?.description)
    let formats = try #require(found["formats"] as? [[String: Any]])
    let xr24 = try #require(formats.first { $0["format"] as? String == "XR24" })
    #expect((xr24["sizes"] as? [String])?.contains("1280x720") == true)
  }

  @Test(.enabled(if: vkms != nil && TestHeaps.dmaBufs.contains("system"), "needs vkms and system"))
  func `what a device imports is tried`() throws {
    let path = try #require(Self.vkms).path.string
    let tried = try devices("--try", "--heap", "system")
    let vkms = try #require(tried["drm"]?.first { $0["path"] as? String == path })
    #expect(vkms["imports"] as? [[String: String]] == [["heap": "system", "answer": "imports"]])
    for camera in tried["video"] ?? [] where camera["kind"] as? String == "capture" {
      #expect((camera["imports"] as? [Any])?.count == 1)
    }
  }
}
