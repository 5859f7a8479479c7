/// A device's own reference to a buffer, closed when it goes out of scope.
public struct GEMHandle: ~Copyable, Sendable {
  let file: DRMFile
  /// The number that stands for the buffer in this open file of the device.
  public let rawValue: UInt32

  init(_ file: DRMFile, _ rawValue: UInt32) {
    self.file = file
    self.rawValue = rawValue
  }

  deinit { file.close(rawValue) }
}
