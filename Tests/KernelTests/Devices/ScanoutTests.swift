import LinuxHeaps
import LinuxHeapsDRM
import TestSupport
import Testing

/// On vkms, which composes in software and tells the checksum of each picture.
@Suite(.serialized, .enabled(if: TestDevice.hasDisplay, "needs vkms"))
struct ScanoutTests {
  private let connector: Connector
  private let mode: DisplayMode

  init() throws {
    let device = try TestDevice.open("vkms")
    connector = try #require(try device.connectors().first { !$0.modes.isEmpty })
    // Small, because a guest composes slowly.
    mode = try #require(connector.modes.first { $0.description.hasPrefix("640x480") })
  }

  @Test func `a connector has a name and modes`() throws {
    #expect(connector.name.hasPrefix("Virtual-"))
    #expect(connector.status == .connected)
    #expect(connector.preferredMode?.size == SizeU(width: 1024, height: 768))
    let vgem = try TestDevice.open("vgem")
    do throws(HeapError) {
      _ = try vgem.connectors()
      Issue.record("vgem has connectors")
    } catch {
      #expect(error.code == .notSupported)
    }
  }

  /// A dumb buffer that the processor wrote is what the picture is compared with.
  @Test(
    arguments: TestHeaps.dmaBufs,
    [(FourCC.xr24, TestPattern.bars), (.xr24, .gradient), (.ar24, .bars), (.rg16, .gradient)])
  func `a heap buffer on the screen is the picture`(
    _ heap: String, _ what: (format: FourCC, pattern: TestPattern)
  ) throws {
    let device = try TestDevice.open("vkms")
    let layout = try ImageLayout(what.format, size: mode.size)
    let heap = TestHeaps.make(heap)
    var seen: [String] = []
    do {
      var scanout = try Scanout(device, connector: connector, mode: mode)
      for pattern in [what.pattern, what.pattern == .bars ? .gradient : .bars] {
        let bits = layout.planes[0].bytesPerRow * 8 / mode.size.width
        let dumb = try device.dumbBuffer(
          width: mode.size.width, height: mode.size.height, bitsPerPixel: bits)
        let own = try ImageLayout(what.format, size: mode.size, bytesPerRow: dumb.bytesPerRow)
        try dumb.export().paint(pattern, own)
        try scanout.show(try device.framebuffer(of: dumb.handle, own))
        seen.append(try DisplayCRC(of: device.path).next())
      }
      let vmo = try heap.buffer(layout.byteCount)
      try vmo.paint(what.pattern, layout)
      try scanout.show(try device.framebuffer(of: vmo, layout, modifier: .linear))
      seen.append(try DisplayCRC(of: device.path).next())
      // The screen alone keeps the buffer now.
      _ = consume vmo
      #expect(heap.liveBufferCount == 1)
      #expect(try DisplayCRC(of: device.path).next() == seen[2])
      _ = consume scanout
    }
    #expect(seen[2] == seen[0])
    #expect(seen[2] != seen[1])
    #expect(heap.eventuallyEmpty())
    #expect(try device.connectors().first { $0.name == connector.name }?.isOn == false)
  }

  @Test(arguments: TestHeaps.dmaBufs)
  func `two buffers take turns, by events and fences`(_ heap: String) throws {
    let device = try TestDevice.open("vkms")
    let layout = try ImageLayout(.xr24, size: mode.size)
    let heap = TestHeaps.make(heap)
    do {
      let pictures = try TestPattern.allCases.enumerated().map { index, pattern in
        let vmo = try heap.buffer(layout.byteCount, index: UInt64(index))
        try vmo.paint(pattern, layout)
        return try device.framebuffer(of: vmo, layout)
      }
      var scanout = try Scanout(device, connector: connector, mode: mode)
      let isAtomic = scanout.isAtomic
      #expect(isAtomic)
      expect(.badState) { () throws(HeapError) in _ = try scanout.flip(to: pictures[0]) }
      expect(.badState) { () throws(HeapError) in _ = try scanout.waitForFlip() }
      try scanout.show(pictures[0])
      var seen = [try DisplayCRC(of: device.path).next()]
      var events: [FlipEvent] = []
      var fence = try scanout.flip(to: pictures[1])
      for turn in 1...4 {
        expect(.badState) { () throws(HeapError) in _ = try scanout.flip(to: pictures[0]) }
        events.append(try scanout.waitForFlip(within: .seconds(60)))
        seen.append(try DisplayCRC(of: device.path).next())
        guard turn < 4 else { break }
        guard let last = fence.take() else {
          Issue.record("no fence")
          break
        }
        fence = try scanout.flip(to: pictures[(turn + 1) % 2], after: last)
      }
      #expect(seen[0] != seen[1])
      #expect(seen == [seen[0], seen[1], seen[0], seen[1], seen[0]])
      for (earlier, later) in zip(events, events.dropFirst()) { #expect(earlier.time < later.time) }
      _ = consume scanout
    }
    #expect(heap.eventuallyEmpty())
  }

  @Test func `a display has one owner`() throws {
    let device = try TestDevice.open("vkms")
    let other = try TestDevice.open("vkms")
    let scanout = try Scanout(device, connector: connector, mode: mode)
    expect(.badState) { () throws(HeapError) in
      _ = try Scanout(device, connector: connector, mode: mode)
    }
    expect(.accessDenied, "another program controls the display") { () throws(HeapError) in
      _ = try Scanout(other, connector: connector, mode: mode)
    }
    _ = consume scanout
    _ = try Scanout(other, connector: connector, mode: mode)
  }

  @Test func `a picture must fit its buffer, its screen and its device`() throws {
    let device = try TestDevice.open("vkms")
    let other = try TestDevice.open("vkms")
    var scanout = try Scanout(device, connector: connector, mode: mode)
    let heap = TestHeaps.make(try #require(TestHeaps.dmaBufs.first))
    let layout = try ImageLayout(.xr24, size: mode.size)
    let vmo = try heap.buffer(layout.byteCount)
    let larger = try ImageLayout(.xr24, size: SizeU(width: 640, height: 481))
    expect(.outOfRange) { () throws(HeapError) in _ = try device.framebuffer(of: vmo, larger) }
    let small = try ImageLayout(.xr24, size: SizeU(width: 320, height: 240))
    let smaller = try device.framebuffer(of: vmo, small)
    expect(.noResources, "the picture is smaller than the mode, 640x480") {
      () throws(HeapError) in try scanout.show(smaller)
    }
    let foreign = try other.framebuffer(of: vmo, layout)
    expect(.badHandle) { () throws(HeapError) in try scanout.show(foreign) }
    _ = consume scanout
  }

  /// The kernel's own arithmetic (drm_gem_fb_create): a layout that were too short by a page, or whose
  /// planes were elsewhere, would be refused.
  @Test func `the kernel takes each layout in a buffer of just its size, and in no smaller one`()
    throws
  {
    let device = try TestDevice.open("vkms")
    let scanout = try Scanout(device, connector: connector, mode: mode)
    let formats = scanout.formats.filter { (try? ImageLayout($0, size: mode.size)) != nil }
    #expect(formats.contains(.xr24))
    for format in formats {
      for size in [SizeU(width: 640, height: 480), SizeU(width: 66, height: 34)] {
        let layout = try ImageLayout(format, size: size)
        // A row of the least that holds all: the driver rounds up to pages.
        let buffer = try device.dumbBuffer(
          width: UInt32((layout.byteCount + 3) / 4), height: 1, bitsPerPixel: 32)
        _ = try device.framebuffer(of: buffer.handle, layout)
        let spare = buffer.byteCount - layout.byteCount
        expect(.invalidArgs) { () throws(HeapError) in
          _ = try device.framebuffer(of: buffer.handle, layout, at: spare + 1)
        }
      }
    }
    _ = consume scanout
  }

  private func expect(
    _ code: HeapError.Code, _ text: String = "", _ body: () throws(HeapError) -> Void
  ) {
    do throws(HeapError) {
      try body()
      Issue.record("it is not refused")
    } catch {
      #expect(error.code == code, "\(error)")
      #expect("\(error)".contains(text) || text.isEmpty)
    }
  }
}
