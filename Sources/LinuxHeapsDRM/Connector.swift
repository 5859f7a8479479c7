internal import CDRM
internal import CLibrary
public import LinuxHeaps
internal import SystemPackage

/// Where a display can be plugged in.
public struct Connector: Sendable {
  public enum Status: String, Sendable {
    case connected, disconnected
    /// The driver cannot tell.
    case unknown
  }

  /// As the kernel names it in /sys/class/drm, e.g. `HDMI-A-1`.
  public let name: String
  public let status: Status
  /// In the driver's order, the best first.
  public let modes: [DisplayMode]
  let id: UInt32
  /// Its present CRTC, 0 where it is off.
  let crtc: UInt32
  /// One bit for each of the device's CRTCs, by its place in their list.
  let possibleCRTCs: UInt32

  /// Whether the display shows something.
  public var isOn: Bool { crtc != 0 }

  /// The one that the display asks for, else the driver's first.
  public var preferredMode: DisplayMode? { modes.first(where: \.isPreferred) ?? modes.first }
}

extension DRMDevice {
  /// Every connector, also those without a display.
  ///
  /// - Throws: `HeapError.Code.notSupported` on a device that drives none, such as vgem or a render node.
  public func connectors() throws(HeapError) -> [Connector] {
    let file = self.file
    do throws(Errno) {
      return try file.asMasterIfPossible { () throws(Errno) in
        try file.resources().connectors.compactMap(file.connector)
      }
    } catch {
      let displays = DRMNode.all().filter(\.hasConnectors).map {
        "\($0.path.string) (\($0.driver ?? ""))"
      }
      throw HeapError(
        .notSupported, "look for displays of \(driver)", at: path,
        cause: "the device has no connector", errno: error,
        fix: displays.isEmpty
          ? "load the display's driver, or \(KernelModule.vkms.fix)"
          : "use one of: \(displays.joined(separator: ", "))")
    }
  }
}

extension DRMFile {
  /// What the device has for displays, by the kernel's numbers.
  func resources() throws(Errno) -> (connectors: [UInt32], crtcs: [UInt32]) {
    guard let found = unsafe drmModeGetResources(fd.rawValue) else {
      throw Errno(rawValue: errno)
    }
    defer { unsafe drmModeFreeResources(found) }
    return (
      unsafe array(found.pointee.connectors, found.pointee.count_connectors),
      unsafe array(found.pointee.crtcs, found.pointee.count_crtcs)
    )
  }

  /// Nil where it went away meanwhile.
  func connector(_ id: UInt32) -> Connector? {
    // Probes the display, as the modes are not known before the first look.
    guard let found = unsafe drmModeGetConnector(fd.rawValue, id) else { return nil }
    defer { unsafe drmModeFreeConnector(found) }
    let kind =
      unsafe drmModeGetConnectorTypeName(found.pointee.connector_type).map {
        unsafe String(cString: $0)
      } ?? "Unknown"
    let status: Connector.Status =
      switch unsafe found.pointee.connection {
      case DRM_MODE_CONNECTED: .connected
      case DRM_MODE_DISCONNECTED: .disconnected
      default: .unknown
      }
    return Connector(
      name: unsafe "\(kind)-\(found.pointee.connector_type_id)", status: status,
      modes: unsafe array(found.pointee.modes, found.pointee.count_modes).map(DisplayMode.init),
      id: id, crtc: crtc(of: unsafe found.pointee.encoder_id),
      possibleCRTCs: unsafe drmModeConnectorGetPossibleCrtcs(fd.rawValue, found))
  }

  private func crtc(of encoder: UInt32) -> UInt32 {
    guard encoder != 0, let found = unsafe drmModeGetEncoder(fd.rawValue, encoder) else { return 0 }
    defer { unsafe drmModeFreeEncoder(found) }
    return unsafe found.pointee.crtc_id
  }
}

/// A C array's elements; none where libdrm left the pointer nil.
func array<Element, Count: BinaryInteger>(
  _ start: UnsafeMutablePointer<Element>?, _ count: Count
) -> [Element] {
  unsafe Array(UnsafeBufferPointer(start: start, count: start == nil ? 0 : Int(count)))
}

/// A size and a refresh rate that a display takes.
public struct DisplayMode: Sendable, CustomStringConvertible {
  let info: drmModeModeInfo

  public var size: SizeU {
    SizeU(width: UInt32(info.hdisplay), height: UInt32(info.vdisplay))
  }

  /// In Hz, as the driver rounds it.
  public var refresh: UInt32 { info.vrefresh }

  /// Whether the display asks for this one.
  public var isPreferred: Bool { info.type & UInt32(DRM_MODE_TYPE_PREFERRED) != 0 }

  /// E.g. `1024x768@60`.
  public var description: String { "\(size.width)x\(size.height)@\(refresh)" }
}
