import HeapProtocol
import LinuxHeaps
import Testing

/// A message and its bytes.
struct Sample: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let message: any Message
  let transactionID: UInt32
  let handles: Int
  let bytes: [UInt8]

  init(
    _ name: String, _ message: any Message, _ transactionID: UInt32, handles: Int = 0,
    _ hex: String
  ) {
    testDescription = name
    self.message = message
    self.transactionID = transactionID
    self.handles = handles
    bytes = [UInt8](hex: hex)
  }

  /// Takes other bytes for a message of the same kind.
  func decode(_ bytes: [UInt8], handles: Int) throws(WireError) -> any Message {
    try type(of: message).init(bytes, handles: handles)
  }

  func refusal(_ bytes: [UInt8], handles: Int? = nil) -> WireError? {
    type(of: message).refusal(bytes, handles: handles ?? self.handles)
  }
}

extension SingleBufferSettings {
  /// Each field has a value, and no two of a type have the same.
  static let full: SingleBufferSettings = {
    var image = ImageFormatConstraints()
    image.pixelFormat = PixelFormat(rawValue: 101)
    image.pixelFormatModifier = PixelFormatModifier(rawValue: 0x0100_0000_0000_0002)
    image.colorSpaces = [1, 2, 3]
    image.minSize = SizeU(width: 1, height: 2)
    image.maxSize = SizeU(width: 3, height: 4)
    image.minBytesPerRow = 5
    image.maxBytesPerRow = 6
    image.maxWidthTimesHeight = 7
    image.sizeAlignment = SizeU(width: 8, height: 9)
    image.displayRectAlignment = SizeU(width: 10, height: 11)
    image.requiredMinSize = SizeU(width: 12, height: 13)
    image.requiredMaxSize = SizeU(width: 14, height: 15)
    image.bytesPerRowDivisor = 16
    image.startOffsetDivisor = 17
    image.pixelFormatAndModifiers = [(18, 19), (20, 21)].map {
      PixelFormatAndModifier(
        pixelFormat: PixelFormat(rawValue: $0),
        pixelFormatModifier: PixelFormatModifier(rawValue: $1))
    }
    image.requireBytesPerRowAtPixelBoundary = true
    image.isAlphaPresent = false
    image.requiredMaxSizeList = [SizeU(width: 22, height: 23), SizeU(width: 24, height: 25)]
    image.padForBlockSize = SizeU(width: 26, height: 27)
    image.padBeyondImageSizeBytes = 28
    return SingleBufferSettings(
      bufferSettings: BufferMemorySettings(
        sizeBytes: 8000, isPhysicallyContiguous: true, isSecure: false,
        coherencyDomain: .inaccessible, heap: HeapIdentifier(heapType: "système2", id: 9),
        rawVmoSize: 8192),
      imageFormatConstraints: image)
  }()
}

extension Sample {
  static let all = heap + extensions + observer
}
