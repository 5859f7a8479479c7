internal import CDRM
internal import LinuxHeaps
internal import SystemPackage

/// The plane that a CRTC's picture stands on: which formats it takes, and how atomic commits name it.
struct PrimaryPlane: Sendable {
  let id: UInt32
  let formats: [FourCC]
  /// By format; empty where the driver tells of none (`IN_FORMATS`).
  let modifiers: [FourCC: [FormatModifier]]
  let framebufferProperty: UInt32
  /// 0 where the driver waits for no fence.
  let fenceProperty: UInt32

  /// Nil where the driver shows no planes.
  init?(of index: Int, in file: DRMFile) {
    guard let all = unsafe drmModeGetPlaneResources(file.fd.rawValue) else { return nil }
    defer { unsafe drmModeFreePlaneResources(all) }
    for id in unsafe array(all.pointee.planes, all.pointee.count_planes) {
      guard let plane = unsafe drmModeGetPlane(file.fd.rawValue, id) else { continue }
      defer { unsafe drmModeFreePlane(plane) }
      guard unsafe plane.pointee.possible_crtcs & 1 << UInt32(index) != 0 else { continue }
      let properties = file.properties(of: id, DRM_MODE_OBJECT_PLANE)
      guard properties["type"]?.value == UInt64(DRM_PLANE_TYPE_PRIMARY) else { continue }
      self.id = id
      formats = unsafe array(plane.pointee.formats, plane.pointee.count_formats)
        .map(FourCC.init(rawValue:))
      modifiers = properties["IN_FORMATS"].map { file.modifiers($0.value) } ?? [:]
      framebufferProperty = properties["FB_ID"]?.id ?? 0
      fenceProperty = properties["IN_FENCE_FD"]?.id ?? 0
      return
    }
    return nil
  }
}

extension DRMFile {
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
