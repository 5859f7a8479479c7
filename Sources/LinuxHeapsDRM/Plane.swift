internal import CDRM
internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// What a picture stands on, of which a CRTC shows one or more above each other (drm-kms, "Plane Abstraction").
public struct Plane: Sendable {
  public enum Kind: String, Sendable {
    /// The CRTC's own.
    case primary
    /// Above it.
    case overlay
    /// For a pointer.
    case cursor
  }

  public let kind: Kind
  /// In the driver's order.
  public let formats: [FourCC]
  /// By format; empty where the driver tells of none (`IN_FORMATS`).
  public let modifiers: [FourCC: [FormatModifier]]
  let id: UInt32
  /// One bit for each of the device's CRTCs, by its place in their list.
  let possibleCRTCs: UInt32
  let framebufferProperty: UInt32
  /// 0 where the driver waits for no fence.
  let fenceProperty: UInt32
}

extension DRMDevice {
  /// Every plane; none of a device that drives no displays.
  public func planes() -> [Plane] { file.planes() }
}

extension DRMFile {
  func planes() -> [Plane] {
    // Without this the kernel tells of overlays alone.
    _ = drmSetClientCap(fd.rawValue, UInt64(DRM_CLIENT_CAP_UNIVERSAL_PLANES), 1)
    guard let all = unsafe drmModeGetPlaneResources(fd.rawValue) else { return [] }
    defer { unsafe drmModeFreePlaneResources(all) }
    return unsafe array(all.pointee.planes, all.pointee.count_planes).compactMap(plane)
  }

  private func plane(_ id: UInt32) -> Plane? {
    guard let found = unsafe drmModeGetPlane(fd.rawValue, id) else { return nil }
    defer { unsafe drmModeFreePlane(found) }
    let properties = properties(of: id, DRM_MODE_OBJECT_PLANE)
    let kind: Plane.Kind =
      switch properties["type"]?.value {
      case UInt64(DRM_PLANE_TYPE_PRIMARY): .primary
      case UInt64(DRM_PLANE_TYPE_CURSOR): .cursor
      default: .overlay
      }
    return Plane(
      kind: kind,
      formats: unsafe array(found.pointee.formats, found.pointee.count_formats)
        .map(FourCC.init(rawValue:)),
      modifiers: properties["IN_FORMATS"].map { modifiers($0.value) } ?? [:], id: id,
      possibleCRTCs: unsafe found.pointee.possible_crtcs,
      framebufferProperty: properties["FB_ID"]?.id ?? 0,
      fenceProperty: properties["IN_FENCE_FD"]?.id ?? 0)
  }

  /// An object's properties by name.
  func properties(
    of object: UInt32, _ type: UInt32
  ) -> [String: (id: UInt32, value: UInt64)] {
    guard let all = unsafe drmModeObjectGetProperties(fd.rawValue, object, type) else { return [:] }
    defer { unsafe drmModeFreeObjectProperties(all) }
    let ids = unsafe array(all.pointee.props, all.pointee.count_props)
    let values = unsafe array(all.pointee.prop_values, all.pointee.count_props)
    var result: [String: (id: UInt32, value: UInt64)] = [:]
    for (id, value) in zip(ids, values) {
      guard let property = unsafe drmModeGetProperty(fd.rawValue, id) else { continue }
      defer { unsafe drmModeFreeProperty(property) }
      let name = unsafe withUnsafePointer(to: &property.pointee.name) { name in
        unsafe name.withMemoryRebound(to: CChar.self, capacity: Int(DRM_PROP_NAME_LEN)) {
          unsafe String(cString: $0)
        }
      }
      result[name] = (id, value)
    }
    return result
  }

  fileprivate func modifiers(_ blob: UInt64) -> [FourCC: [FormatModifier]] {
    guard let id = UInt32(exactly: blob),
      let found = unsafe drmModeGetPropertyBlob(fd.rawValue, id)
    else { return [:] }
    defer { unsafe drmModeFreePropertyBlob(found) }
    var result: [FourCC: [FormatModifier]] = [:]
    var step = drmModeFormatModifierIterator()
    while unsafe drmModeFormatModifierBlobIterNext(found, &step) {
      result[FourCC(rawValue: step.fmt), default: []].append(FormatModifier(rawValue: step.mod))
    }
    return result
  }
}
