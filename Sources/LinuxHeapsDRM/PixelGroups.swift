/// How the pixels of a linear format lie in its planes.
///
/// A group is the smallest piece of a row that has whole bytes and stands for whole pixels: 4 bytes for
/// one pixel of XR24, 4 bytes for two of YUYV, 2 bytes for a square of 2x2 in NV12's second plane.
struct PixelGroups {
  struct Plane {
    let bytes: UInt64
    /// Pixels across and down for which one group stands.
    let across: UInt64
    let down: UInt64

    init(_ bytes: UInt64, across: UInt64 = 1, down: UInt64 = 1) {
      self.bytes = bytes
      self.across = across
      self.down = down
    }
  }

  let planes: [Plane]

  /// Pixels that a row's length is a multiple of in memory.
  var across: UInt64 { planes.map(\.across).max() ?? 1 }

  /// Nil for a format that is not in the table (include/uapi/drm/drm_fourcc.h).
  init?(_ format: FourCC) {
    guard let planes = Self.table[format] else { return nil }
    self.planes = planes
  }

  private static let table: [FourCC: [Plane]] = {
    var table: [FourCC: [Plane]] = [:]
    func add(_ names: String, _ planes: Plane...) {
      for name in names.split(separator: " ") {
        guard let format = FourCC(String(name)) else { preconditionFailure("\(name)") }
        table[format] = planes
      }
    }
    add("XR24 AR24 XB24 AB24 RX24 RA24 BX24 BA24 XR30 AR30 XB30 AB30", Plane(4))
    add("RG24 BG24", Plane(3))
    add("RG16 BG16 XR15 AR15 XR12 AR12 GR88 RG88 R16", Plane(2))
    // GREY is V4L2's number for what the other calls R8.
    add("R8 GREY", Plane(1))
    add("YUYV YVYU UYVY VYUY", Plane(4, across: 2))
    add("NV12 NV21", Plane(1), Plane(2, across: 2, down: 2))
    add("NV16 NV61", Plane(1), Plane(2, across: 2))
    add("NV24 NV42", Plane(1), Plane(2))
    add("P010 P012 P016", Plane(2), Plane(4, across: 2, down: 2))
    add(
      "YU12 YV12", Plane(1), Plane(1, across: 2, down: 2), Plane(1, across: 2, down: 2))
    add("YU16 YV16", Plane(1), Plane(1, across: 2), Plane(1, across: 2))
    add("YU24 YV24", Plane(1), Plane(1), Plane(1))
    return table
  }()
}
