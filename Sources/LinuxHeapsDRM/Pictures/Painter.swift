internal import LinuxHeaps

/// Paints pictures into memory that is laid out for a format.
package struct Painter {
  private let layout: ImageLayout
  private let groups: PixelGroups
  private let encoder: PixelEncoder

  /// Nil for a format that cannot be painted.
  package init?(_ layout: ImageLayout) {
    guard let groups = PixelGroups(layout.format), let encoder = PixelEncoder(layout.format) else {
      return nil
    }
    self.layout = layout
    self.groups = groups
    self.encoder = encoder
  }

  package static var formats: [FourCC] { PixelEncoder.formats }

  /// Fills every pixel; `bytes` must hold ``ImageLayout/byteCount``.
  package func paint(_ picture: some Picture, into bytes: inout MutableRawSpan) {
    for (index, plane) in layout.planes.enumerated() {
      let down = Int(groups.planes[index].down)
      var painted: (band: Int, row: [UInt8])?
      for number in 0..<Int(plane.rows) {
        let y = number * down
        let band = picture.band(y: y, height: Int(layout.size.height))
        let row = painted?.band == band ? painted?.row : nil
        let current = row ?? self.row(of: picture, plane: index, y: y)
        painted = (band, current)
        bytes.store(current, at: Int(plane.offset) + number * Int(plane.bytesPerRow))
      }
    }
  }

  /// The pixels that an odd width lacks in its last groups repeat the last one's colour.
  private func row(of picture: some Picture, plane: Int, y: Int) -> [UInt8] {
    let (width, height) = (Int(layout.size.width), Int(layout.size.height))
    let (across, most) = (Int(groups.planes[plane].across), Int(groups.across))
    var row: [UInt8] = []
    for x in stride(from: 0, to: (width + most - 1) / most * most, by: across) {
      let pixels = (x..<x + across).map {
        picture.color(x: min($0, width - 1), y: min(y, height - 1), width: width, height: height)
      }
      row += encoder.encode(plane, pixels)
    }
    return row
  }
}

extension MutableRawSpan {
  fileprivate mutating func store(_ row: [UInt8], at offset: Int) {
    precondition(offset >= 0 && offset + row.count <= byteCount)
    unsafe withUnsafeMutableBytes { target in
      unsafe UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + row.count])
        .copyBytes(from: row)
    }
  }
}
