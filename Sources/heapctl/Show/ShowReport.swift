internal import LinuxHeaps
internal import LinuxHeapsDRM

/// What is on the screen.
struct ShowReport: Encodable {
  struct Plane: Encodable {
    let offset: UInt64
    let bytesPerRow: UInt32
    let rows: UInt32
  }

  let device: String
  let driver: String
  let connector: String
  let mode: String
  let atomic: Bool
  let format: String
  let modifier: String
  let width: UInt32
  let height: UInt32
  let planes: [Plane]
  let heap: String
  let kind: String
  let sizeBytes: UInt64
  let name: String?

  init(
    _ device: borrowing DRMDevice, _ scanout: borrowing Scanout, _ image: ImageChoice,
    _ vmo: borrowing VMO
  ) throws(HeapError) {
    self.device = device.path
    driver = device.driver
    connector = scanout.connector.name
    mode = "\(scanout.mode)"
    atomic = scanout.isAtomic
    format = "\(image.layout.format)"
    modifier = "\(image.modifier)"
    width = image.layout.size.width
    height = image.layout.size.height
    planes = image.layout.planes.map {
      Plane(offset: $0.offset, bytesPerRow: $0.bytesPerRow, rows: $0.rows)
    }
    heap = vmo.heapName ?? ""
    kind = vmo.kind.rawValue
    sizeBytes = vmo.byteCount
    name = try vmo.name
  }

  var text: String {
    let rows = planes.map { "\($0.rows) rows of \($0.bytesPerRow) bytes at \($0.offset)" }
    return """
      \(driver) (\(device)) shows on \(connector), mode \(mode):
        \(width)x\(height) \(format), modifier \(modifier): \(rows.joined(separator: ", "))
        from \(sizeBytes.asByteCount) of \(heap), a \(kind)\(name.map { ", name \($0)" } ?? ""): imported, not copied
      """
  }
}
