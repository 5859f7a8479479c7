/// `fuchsia.sysmem2/ImageFormatConstraints`. A field that is nil was absent from the table.
///
/// No heap of this package looks at one; a heap that lays out an image does.
public struct ImageFormatConstraints: Hashable, Sendable {
  public var pixelFormat: PixelFormat?
  public var pixelFormatModifier: PixelFormatModifier?
  /// At most 32 in a message.
  public var colorSpaces: [UInt32]?
  public var minSize: SizeU?
  public var maxSize: SizeU?
  public var minBytesPerRow: UInt32?
  public var maxBytesPerRow: UInt32?
  public var maxWidthTimesHeight: UInt64?
  public var sizeAlignment: SizeU?
  public var displayRectAlignment: SizeU?
  public var requiredMinSize: SizeU?
  public var requiredMaxSize: SizeU?
  public var bytesPerRowDivisor: UInt32?
  public var startOffsetDivisor: UInt32?
  /// At most 64 in a message.
  public var pixelFormatAndModifiers: [PixelFormatAndModifier]?
  public var requireBytesPerRowAtPixelBoundary: Bool?
  public var isAlphaPresent: Bool?
  /// At most 64 in a message.
  public var requiredMaxSizeList: [SizeU]?
  public var padForBlockSize: SizeU?
  public var padBeyondImageSizeBytes: UInt64?

  /// All fields absent.
  public init() {}
}

/// `fuchsia.math/SizeU`, in pixels.
public struct SizeU: Hashable, Sendable {
  public var width: UInt32
  public var height: UInt32

  public init(width: UInt32, height: UInt32) {
    self.width = width
    self.height = height
  }
}

/// `fuchsia.images2/PixelFormat`, by number.
public struct PixelFormat: RawRepresentable, Hashable, Sendable {
  public var rawValue: UInt32
  public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// `fuchsia.images2/PixelFormatModifier`, by number.
public struct PixelFormatModifier: RawRepresentable, Hashable, Sendable {
  public var rawValue: UInt64
  public init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// `fuchsia.sysmem2/PixelFormatAndModifier`.
public struct PixelFormatAndModifier: Hashable, Sendable {
  public var pixelFormat: PixelFormat
  public var pixelFormatModifier: PixelFormatModifier

  public init(pixelFormat: PixelFormat, pixelFormatModifier: PixelFormatModifier) {
    self.pixelFormat = pixelFormat
    self.pixelFormatModifier = pixelFormatModifier
  }
}
