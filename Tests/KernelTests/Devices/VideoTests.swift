import Glibc
import HeapTestKit
import LinuxHeaps
import LinuxHeapsDRM
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeapsV4L2

/// The virtual devices that Tests/Kernel/boot.sh asks for.
enum Virtual {
  static let devices = VideoDevice.all()
  /// Takes any memory.
  static let camera = devices.first {
    $0.driver == "vivid" && $0.kind == .capture && $0.bus == "platform:vivid-001"
  }
  static let converter = devices.first { $0.driver == "vim2m" }
  static let heap = UDMABufHeap.isUsable
  static let display = DRMNode.all().first { $0.driver == "vkms" && $0.kind == .primary }

  static func buffer(_ heap: any Heap, _ size: UInt64, index: UInt64 = 0) throws(HeapError) -> VMO {
    try heap.allocateVmo(
      size: size, settings: SingleBufferSettings(), bufferCollectionID: 0x5634, bufferIndex: index)
  }
}

@Suite(
  .serialized,
  .enabled(if: Virtual.camera != nil && Virtual.heap, "needs vivid as in Tests/Kernel/boot.sh"))
struct CaptureTests {
  @Test func `the queue owns what it is given, and lets go at its end`() throws {
    let heap = UDMABufHeap()
    let camera = try CaptureDevice(try #require(Virtual.camera).path)
    let format = try camera.setFormat(width: 640, height: 480, .xr24)
    #expect(format.bytesPerLine == 640 * 4)
    #expect(format.byteCount == 640 * 480 * 4)
    let vmo = try Virtual.buffer(heap, format.byteCount)
    let watch = try vmo.duplicate()
    let before = try #require(try watch.referenceCount)
    do {
      var queue = try camera.makeQueue(capacity: 2)
      expect(.badState) { () throws(HeapError) in _ = try queue.dequeue(for: .zero) }
      let (memfd, small) = (MemfdHeap(), UDMABufHeap())
      expect(.notSupported) { () throws(HeapError) in
        try queue.enqueue(try Virtual.buffer(memfd, format.byteCount))
      }
      expect(.outOfRange) { () throws(HeapError) in
        try queue.enqueue(try Virtual.buffer(small, 4096))
      }
      try queue.enqueue(vmo)
      #expect(queue.queuedCount == 1)
      #expect(try #require(try watch.referenceCount) > before)
      try queue.start()
      let frame = try queue.dequeue(for: .seconds(60))
      #expect(frame.bytesUsed == format.byteCount)
      #expect(queue.queuedCount == 0)
      expect(.badState) { () throws(HeapError) in _ = try queue.dequeue(for: .zero) }
      try queue.enqueue(frame.takeVMO())
      let left = try queue.stop()
      #expect(left.count == 1)
    }
    // The handle that was queued is closed, and the device's own reference gone.
    #expect(try watch.referenceCount == before - 1)
  }

  @Test func `a format that is kept has its field again`() throws {
    let television = try CameraInput(
      try #require(Virtual.camera).path, .television(alternates: true))
    let before: VideoFormat
    do {
      let camera = try CaptureDevice(television.path)
      before = try camera.format()
      #expect("\(before.field)" == "alternate")
      try camera.keepFormat()
      let set = try camera.setFormat(width: 640, height: 480, .xr24)
      #expect(set.field.isInterlaced && set != before)
    }
    #expect(try CaptureDevice(television.path).format() == before)
  }

  @Test func `a check leaves the cameras as they were`() async throws {
    let cameras = Virtual.devices.filter { $0.driver == "vivid" && $0.kind == .capture }
    for camera in cameras {
      let device = try CaptureDevice(camera.path)
      try device.setFormat(width: 320, height: 180, .xr24)
    }
    let check = try #require(HeapCheck.all.first { $0.name == "contiguity" })
    // It tries the cameras with more pixels until one refuses, however it ends.
    _ = await check.run(on: .udmabuf)
    for camera in cameras {
      let device = try CaptureDevice(camera.path)
      let format = try device.format()
      #expect("\(format)" == "320x180 XR24")
    }
  }

  @Test(.enabled(if: Virtual.display != nil, "needs vkms"))
  func `the pixels on the screen are those captured`() throws {
    let heap = UDMABufHeap()
    let device = try DRMDevice(path: try #require(Virtual.display).path.string)
    let connector = try #require(try device.connectors().first { !$0.modes.isEmpty })
    let mode = try #require(connector.modes.first { "\($0)".hasPrefix("640x480") })
    let camera = try CaptureDevice(try #require(Virtual.camera).path)
    let format = try camera.setFormat(width: 640, height: 480, .xr24)
    let layout = try ImageLayout(
      .xr24, size: mode.size, bytesPerRow: UInt32(format.bytesPerLine))
    var queue = try camera.makeQueue(capacity: 2)
    try queue.enqueue(try Virtual.buffer(heap, format.byteCount))
    try queue.start()
    let frame = try queue.dequeue(for: .seconds(60))

    var scanout = try Scanout(device, connector: connector, mode: mode)
    // Black, then the camera's own buffer, then what the processor copied of it.
    let dumb = try device.dumbBuffer(width: 640, height: 480, bitsPerPixel: 32)
    let own = try ImageLayout(.xr24, size: mode.size, bytesPerRow: dumb.bytesPerRow)
    try #require(dumb.bytesPerRow == UInt32(format.bytesPerLine))
    let copy = try device.framebuffer(of: dumb.handle, own)
    try scanout.show(copy)
    let black = try DisplayCRC(of: device.path).next()
    try scanout.show(try device.framebuffer(of: frame.vmo, layout))
    let shown = try DisplayCRC(of: device.path).next()
    try copyPixels(of: frame.vmo, to: try dumb.export(), Int(format.byteCount))
    try scanout.show(copy)
    let copied = try DisplayCRC(of: device.path).next()
    #expect(shown != black)
    #expect(shown == copied)
  }

  private func copyPixels(
    of source: borrowing VMO, to target: borrowing VMO, _ count: Int
  ) throws {
    let from = try source.mapReadOnly()
    let to = try target.map()
    let reading = try from.readAccess()
    var writing = try to.writeAccess()
    var bytes = writing.mutableBytes
    unsafe bytes.withUnsafeMutableBytes { to in
      unsafe reading.bytes.withUnsafeBytes { from in
        _ = unsafe memcpy(to.baseAddress!, from.baseAddress!, count)
      }
    }
    try writing.end()
  }
}

@Suite(
  .serialized, .enabled(if: Virtual.converter != nil && Virtual.heap, "needs vim2m"))
struct ConverterTests {
  @Test func `a frame goes through a converter, from buffer to buffer`() throws {
    let heap = UDMABufHeap()
    let converter = try MemoryToMemoryDevice(try #require(Virtual.converter).path)
    let format = try #require(converter.inputFormats.first { converter.resultFormats.contains($0) })
    let input = try converter.setInputFormat(width: 320, height: 240, format)
    let result = try converter.setResultFormat(width: 320, height: 240, format)
    let source = try Virtual.buffer(heap, input.byteCount)
    do {
      let mapping = try source.map()
      var access = try mapping.writeAccess()
      var bytes = access.mutableBytes
      for offset in 0..<Int(input.byteCount) {
        bytes.storeBytes(of: 0x3C, toByteOffset: offset, as: UInt8.self)
      }
      try access.end()
    }
    var inputs = try converter.makeInputQueue(capacity: 1)
    var results = try converter.makeResultQueue(capacity: 1)
    try inputs.enqueue(source, bytesUsed: input.byteCount)
    try results.enqueue(try Virtual.buffer(heap, result.byteCount, index: 1))
    try inputs.start()
    try results.start()
    let frame = try results.dequeue(for: .seconds(60))
    _ = try inputs.dequeue(for: .seconds(60))
    #expect(frame.bytesUsed == result.byteCount)
    let mapping = try frame.vmo.mapReadOnly()
    let access = try mapping.readAccess()
    // Alike from end to end, so that it is the same however the device turns it.
    var copied = 0
    for offset in 0..<Int(result.byteCount)
    where unsafe access.bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self) == 0x3C {
      copied += 1
    }
    #expect(copied == Int(result.byteCount))
  }
}

/// The call is refused with this code.
private func expect(_ code: HeapError.Code, _ body: () throws(HeapError) -> Void) {
  do throws(HeapError) {
    try body()
    Issue.record("not refused")
  } catch {
    #expect(error.code == code)
  }
}
