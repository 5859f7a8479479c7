internal import CDRM
public import LinuxHeaps

/// A size and a rhythm that a display takes.
public struct DisplayMode: Sendable {
  let info: drmModeModeInfo

  public var size: SizeU {
    SizeU(width: UInt32(info.hdisplay), height: UInt32(info.vdisplay))
  }

  /// Pictures a second, as the driver rounds it.
  public var refresh: UInt32 { info.vrefresh }

  /// Whether the display asks for this one.
  public var isPreferred: Bool { info.type & UInt32(DRM_MODE_TYPE_PREFERRED) != 0 }
}

extension DisplayMode: CustomStringConvertible {
  /// E.g. `1024x768@60`.
  public var description: String { "\(size.width)x\(size.height)@\(refresh)" }
}
