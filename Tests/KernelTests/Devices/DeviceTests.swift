import LinuxHeaps
import LinuxHeapsDRM
import SystemPackage
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: !TestDevice.names.isEmpty, "needs vgem or vkms"))
struct DeviceTests {
  @Test(arguments: TestDevice.names)
  func `a device is listed with its nodes`(_ driver: String) throws {
    let device = try TestDevice.open(driver)
    let node = try #require(DRMNode.all().first { $0.path.string == device.path })
    #expect(node.driver == driver)
    #expect(node.kind == .primary)
    #expect(node.refusal == nil)
    #expect(node.claimsImport)
    #expect(node.hasConnectors == (driver == "vkms"))
  }

  /// vgem and vkms round a row to whole words at most; the rest is arithmetic that both must agree on.
  @Test(
    arguments: TestDevice.names,
    [("R8", 8), ("RG16", 16), ("RG24", 24), ("XR24", 32)] as [(String, UInt32)])
  func `a dumb buffer's row and size are the layout's`(
    _ driver: String, _ kind: (format: String, bits: UInt32)
  ) throws {
    let device = try TestDevice.open(driver)
    let format = try #require(FourCC(kind.format))
    for size in [
      SizeU(width: 1, height: 1), SizeU(width: 641, height: 3), SizeU(width: 640, height: 480),
      SizeU(width: 1366, height: 768), SizeU(width: 1920, height: 1080),
    ] {
      let buffer = try device.dumbBuffer(
        width: size.width, height: size.height, bitsPerPixel: kind.bits)
      var constraints = ImageFormatConstraints()
      let exact = try ImageLayout(format, size: size, constraints: constraints)
      constraints.bytesPerRowDivisor = 8
      let words = try ImageLayout(format, size: size, constraints: constraints)
      let rows = [exact, words].map { $0.planes[0].bytesPerRow }
      #expect(rows.contains(buffer.bytesPerRow), "\(size)")
      let layout = try ImageLayout(format, size: size, bytesPerRow: buffer.bytesPerRow)
      #expect((layout.byteCount + pageSize - 1) / pageSize * pageSize == buffer.byteCount)
      #expect(try buffer.export().byteCount == buffer.byteCount)
    }
  }

  @Test(arguments: TestDevice.names, TestHeaps.dmaBufs)
  func `a buffer imported twice is held until the second handle is closed`(
    _ driver: String, _ heap: String
  ) throws {
    let heap = TestHeaps.make(heap)
    let device = try TestDevice.open(driver)
    let vmo = try heap.buffer(1 << 20)
    let alone = try #require(try vmo.referenceCount)
    let first = try device.importBuffer(vmo)
    let second = try device.importBuffer(vmo)
    #expect(first.rawValue == second.rawValue)
    let held = try #require(try vmo.referenceCount)
    #expect(held > alone)
    _ = consume first
    #expect(try vmo.referenceCount == held)
    _ = consume second
    #expect(try vmo.referenceCount == alone)
  }

  @Test func `a file that is none of DRM is refused`() {
    #expect { _ = try DRMDevice(path: "/dev/null") } throws: {
      ($0 as? HeapError)?.code == .wrongType
    }
    #expect { _ = try DRMDevice(path: "/dev/dri/card99") } throws: {
      "\($0)".contains("(/dev/dri/card99): there is no such node")
        && "\($0)".contains("To fix it: use one of: /dev/dri/card0")
    }
  }
}
