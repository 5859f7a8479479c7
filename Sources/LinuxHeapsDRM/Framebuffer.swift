internal import CDRM
public import LinuxHeaps
internal import SystemPackage

/// A picture that a device can put on a screen; removed when nobody refers to it any more.
///
/// It keeps its buffer alive in the kernel by itself. Removing one that is on a screen turns the screen
/// off, so ``Scanout`` refers to what it shows.
public final class Framebuffer: Sendable {
  public let layout: ImageLayout
  /// Nil where the driver was left to its own idea, which is linear for what a heap has.
  public let modifier: FormatModifier?
  let id: UInt32
  let file: DRMFile

  init(
    _ handle: borrowing GEMHandle, _ layout: ImageLayout, at offset: UInt64,
    _ modifier: FormatModifier?
  ) throws(Errno) {
    file = handle.file
    self.layout = layout
    self.modifier = modifier
    id = try file.addFramebuffer(handle.rawValue, layout, at: offset, modifier)
  }

  deinit { drmModeRmFB(file.fd.rawValue, id) }
}

extension DRMDevice {
  /// Imports a buffer and makes its pixels a picture: no byte is copied.
  ///
  /// - Parameters:
  ///   - vmo: The memory, as large as the layout at least.
  ///   - layout: Where the pixels lie in the vmo's range.
  ///   - modifier: Said to the driver only if not nil.
  public func framebuffer(
    of vmo: borrowing VMO, _ layout: ImageLayout, modifier: FormatModifier? = nil
  ) throws(HeapError) -> Framebuffer {
    guard layout.byteCount <= vmo.byteCount else {
      throw HeapError(
        .outOfRange, "\(Self.operation(layout)) (\(driver))", at: path,
        cause: "it takes \(layout.byteCount) bytes, the buffer has \(vmo.byteCount)")
    }
    let handle: GEMHandle
    do throws(Errno) { handle = try importBuffer(vmo) } catch {
      let kind = vmo.kind
      let heap = vmo.heapName.map { " of \($0)" } ?? ""
      var advice: (cause: String, fix: String)?
      if kind != .dmaBuf {
        advice = ("devices import dma-bufs only", "use a heap of /dev/dma_heap, or udmabuf")
      } else if error == .invalidArgument || error == .notSupported || error == .badAddress {
        advice = (
          "the driver refuses: it needs contiguous memory, or imports from no other device",
          "use a contiguous heap, or another device (bochs-drm of Linux 6.12 imports nothing)"
        )
      }
      throw HeapError(
        error, "import a \(kind.rawValue)\(heap) into \(driver)", at: path,
        cause: advice?.cause, fix: advice?.fix)
    }
    return try framebuffer(of: handle, layout, at: vmo.offset, modifier: modifier)
  }

  /// Makes a picture of a buffer that this device has; its handle may be closed afterwards.
  ///
  /// - Parameters:
  ///   - handle: The buffer in this device.
  ///   - layout: Where the pixels lie in the image.
  ///   - offset: Where in the buffer the image starts, in bytes.
  ///   - modifier: Said to the driver only if not nil.
  public func framebuffer(
    of handle: borrowing GEMHandle, _ layout: ImageLayout, at offset: UInt64 = 0,
    modifier: FormatModifier? = nil
  ) throws(HeapError) -> Framebuffer {
    do throws(Errno) { return try Framebuffer(handle, layout, at: offset, modifier) } catch {
      let how = modifier.map { " with modifier \($0)" } ?? ""
      throw HeapError(
        error, "\(Self.operation(layout))\(how) (\(driver))", at: path,
        cause: error == .invalidArgument ? "the driver does not support this format and size" : nil,
        fix: error == .invalidArgument ? "use another --format, e.g. XR24" : nil)
    }
  }

  private static func operation(_ layout: ImageLayout) -> String {
    "make a framebuffer of \(layout.size.width)x\(layout.size.height) \(layout.format)"
  }
}

extension DRMFile {
  fileprivate func addFramebuffer(
    _ handle: UInt32, _ layout: ImageLayout, at offset: UInt64, _ modifier: FormatModifier?
  ) throws(Errno) -> UInt32 {
    var handles = [UInt32](repeating: 0, count: 4)
    var (rows, offsets, modifiers) = (handles, handles, [UInt64](repeating: 0, count: 4))
    for (index, plane) in layout.planes.enumerated() {
      let (start, overflow) = offset.addingReportingOverflow(plane.offset)
      guard !overflow, let start = UInt32(exactly: start) else { throw .outOfRange }
      (handles[index], rows[index], offsets[index]) = (handle, plane.bytesPerRow, start)
      modifiers[index] = modifier?.rawValue ?? 0
    }
    var id: UInt32 = 0
    try drmCall {
      unsafe drmModeAddFB2WithModifiers(
        fd.rawValue, layout.size.width, layout.size.height, layout.format.rawValue, handles, rows,
        offsets, modifiers, &id, modifier == nil ? 0 : UInt32(DRM_MODE_FB_MODIFIERS))
    }
    return id
  }
}
