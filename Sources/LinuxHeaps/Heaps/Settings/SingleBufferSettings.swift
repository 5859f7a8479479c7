/// `fuchsia.sysmem2/SingleBufferSettings`. A field that is nil was absent from the table.
public struct SingleBufferSettings: Hashable, Sendable {
  public var bufferSettings: BufferMemorySettings?
  public var imageFormatConstraints: ImageFormatConstraints?

  public init(
    bufferSettings: BufferMemorySettings? = nil,
    imageFormatConstraints: ImageFormatConstraints? = nil
  ) {
    self.bufferSettings = bufferSettings
    self.imageFormatConstraints = imageFormatConstraints
  }

  /// Physically contiguous memory, and nothing else asked.
  public static let contiguous = SingleBufferSettings(
    bufferSettings: BufferMemorySettings(isPhysicallyContiguous: true))
}
