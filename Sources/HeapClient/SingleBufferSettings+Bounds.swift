internal import HeapProtocol
internal import LinuxHeaps

extension SingleBufferSettings {
  /// Why a message cannot carry them; nil where it can. A heap in this process has no such bounds.
  var excess: String? {
    let image = imageFormatConstraints
    let parts: [(name: String, count: Int?, bound: Int)] = [
      (
        "bytes of a heap's type", bufferSettings?.heap?.heapType?.utf8.count,
        HeapIdentifier.longestHeapType
      ),
      ("color spaces", image?.colorSpaces?.count, ImageFormatConstraints.mostColorSpaces),
      (
        "pixel formats", image?.pixelFormatAndModifiers?.count, ImageFormatConstraints.mostFormats
      ),
      ("required sizes", image?.requiredMaxSizeList?.count, ImageFormatConstraints.mostSizes),
    ]
    for part in parts {
      if let count = part.count, count > part.bound {
        return "a message has room for \(part.bound) \(part.name), not for \(count)"
      }
    }
    return nil
  }
}
