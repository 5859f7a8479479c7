/// A colour of 8 bits a channel.
package struct RGB: Hashable, Sendable {
  package var red: UInt8
  package var green: UInt8
  package var blue: UInt8

  package init(_ red: UInt8, _ green: UInt8, _ blue: UInt8) {
    (self.red, self.green, self.blue) = (red, green, blue)
  }
}

/// Something to see, of any size.
package protocol Picture: Sendable {
  /// The colour at a place of a picture of this size.
  func color(x: Int, y: Int, width: Int, height: Int) -> RGB

  /// A number that is the same for rows that look the same, so that they need painting once.
  func band(y: Int, height: Int) -> Int
}
