/// `fuchsia.sysmem2/SingleBufferSettings`. A field that is nil was absent from the table.
public struct SingleBufferSettings: Hashable, Sendable {
  // Spelled out: `?` would have them set to nil first, and then copied, at each allocation.
  public var bufferSettings: Optional<BufferMemorySettings>
  public var imageFormatConstraints: Optional<ImageFormatConstraints>

  public init(
    bufferSettings: BufferMemorySettings? = nil,
    imageFormatConstraints: ImageFormatConstraints? = nil
  ) {
    self.bufferSettings = bufferSettings
    self.imageFormatConstraints = imageFormatConstraints
  }

  package var asksForContiguous: Bool { bufferSettings?.isPhysicallyContiguous == true }

  /// The name of the node from which alone it is to be served.
  package var heapNode: String? {
    guard let type = bufferSettings?.heap?.heapType, type.hasPrefix(HeapCatalog.directory + "/")
    else { return nil }
    return String(type.dropFirst(HeapCatalog.directory.utf8.count + 1))
  }

  /// Physically contiguous memory, and nothing else asked.
  public static let contiguous = SingleBufferSettings(
    bufferSettings: BufferMemorySettings(isPhysicallyContiguous: true))
}
