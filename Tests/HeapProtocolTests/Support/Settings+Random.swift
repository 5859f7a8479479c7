import LinuxHeaps

extension SingleBufferSettings {
  /// Each string and vector is as long as it may be.
  static let bounds: SingleBufferSettings = {
    var settings = full
    settings.bufferSettings?.heap?.heapType = String(repeating: "é", count: 64)
    settings.imageFormatConstraints?.colorSpaces = Array(0..<32)
    settings.imageFormatConstraints?.pixelFormatAndModifiers = (0..<64).map {
      PixelFormatAndModifier(
        pixelFormat: PixelFormat(rawValue: $0),
        pixelFormatModifier: PixelFormatModifier(rawValue: 1))
    }
    settings.imageFormatConstraints?.requiredMaxSizeList = (0..<64).map {
      SizeU(width: $0, height: 0)
    }
    return settings
  }()

  /// Each string and vector is there, and is empty.
  static let empties: SingleBufferSettings = {
    var settings = full
    settings.bufferSettings?.heap?.heapType = ""
    settings.imageFormatConstraints?.colorSpaces = []
    settings.imageFormatConstraints?.pixelFormatAndModifiers = []
    settings.imageFormatConstraints?.requiredMaxSizeList = []
    return settings
  }()

  static func random(using generator: inout SeededGenerator) -> SingleBufferSettings {
    SingleBufferSettings(
      bufferSettings: generator.maybe { generator in
        BufferMemorySettings(
          sizeBytes: generator.maybe { $0.next() },
          isPhysicallyContiguous: generator.maybe { .random(using: &$0) },
          isSecure: generator.maybe { .random(using: &$0) },
          coherencyDomain: generator.maybe { CoherencyDomain(rawValue: $0.next()) },
          heap: generator.maybe { generator in
            HeapIdentifier(
              heapType: generator.maybe { $0.text() }, id: generator.maybe { $0.next() })
          }, rawVmoSize: generator.maybe { $0.next() })
      },
      imageFormatConstraints: generator.maybe { .random(using: &$0) })
  }
}

extension ImageFormatConstraints {
  static func random(using generator: inout SeededGenerator) -> ImageFormatConstraints {
    var image = ImageFormatConstraints()
    image.pixelFormat = generator.maybe { PixelFormat(rawValue: $0.next()) }
    image.pixelFormatModifier = generator.maybe { PixelFormatModifier(rawValue: $0.next()) }
    image.colorSpaces = generator.maybe { $0.list(32) { $0.next() } }
    image.minSize = generator.maybe { $0.size() }
    image.maxSize = generator.maybe { $0.size() }
    image.minBytesPerRow = generator.maybe { $0.next() }
    image.maxBytesPerRow = generator.maybe { $0.next() }
    image.maxWidthTimesHeight = generator.maybe { $0.next() }
    image.sizeAlignment = generator.maybe { $0.size() }
    image.displayRectAlignment = generator.maybe { $0.size() }
    image.requiredMinSize = generator.maybe { $0.size() }
    image.requiredMaxSize = generator.maybe { $0.size() }
    image.bytesPerRowDivisor = generator.maybe { $0.next() }
    image.startOffsetDivisor = generator.maybe { $0.next() }
    image.pixelFormatAndModifiers = generator.maybe { generator in
      generator.list(64) {
        PixelFormatAndModifier(
          pixelFormat: PixelFormat(rawValue: $0.next()),
          pixelFormatModifier: PixelFormatModifier(rawValue: $0.next()))
      }
    }
    image.requireBytesPerRowAtPixelBoundary = generator.maybe { .random(using: &$0) }
    image.isAlphaPresent = generator.maybe { .random(using: &$0) }
    image.requiredMaxSizeList = generator.maybe { $0.list(64) { $0.size() } }
    image.padForBlockSize = generator.maybe { $0.size() }
    image.padBeyondImageSizeBytes = generator.maybe { $0.next() }
    return image
  }
}

extension SeededGenerator {
  fileprivate mutating func maybe<Value>(_ value: (inout SeededGenerator) -> Value) -> Value? {
    Bool.random(using: &self) ? value(&self) : nil
  }

  fileprivate mutating func list<Element>(
    _ bound: Int, _ element: (inout SeededGenerator) -> Element
  ) -> [Element] {
    (0..<Int.random(in: 0...bound, using: &self)).map { _ in element(&self) }
  }

  fileprivate mutating func size() -> SizeU { SizeU(width: next(), height: next()) }

  fileprivate mutating func text() -> String {
    String(list(32) { "aé€😀\0".randomElement(using: &$0)! })
  }
}
