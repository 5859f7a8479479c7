/// What ``BufferProgram`` writes of one buffer: three numbers of 8 bytes, then two strings.
enum BufferRecord {
  static let inode: Int16 = 8
  static let references: Int16 = 16
  static let exporter: Int16 = 24
  /// Longer than any exporter of the kernel calls itself.
  static let exporterSize = 64
  static let name = exporter + Int16(exporterSize)
  /// `DMA_BUF_NAME_LEN` (linux/dma-buf.h).
  static let nameSize = 32
  static let size = Int(name) + nameSize

  /// The buffers in what the iterator's file said; nil where it is no sequence of whole records.
  static func entries(of bytes: [UInt8], _ layout: BufferLayout) -> [BufferList.Entry]? {
    guard bytes.count % size == 0 else { return nil }
    return stride(from: 0, to: bytes.count, by: size).map { start in
      let record = bytes[start..<start + size]
      func number(_ offset: Int16) -> UInt64 {
        unsafe record.withUnsafeBytes {
          unsafe $0.loadUnaligned(fromByteOffset: Int(offset), as: UInt64.self)
        }
      }
      func string(_ offset: Int16, _ size: Int) -> String {
        let bytes = record.dropFirst(Int(offset)).prefix(size).prefix { $0 != 0 }
        return String(decoding: bytes, as: UTF8.self)
      }
      let name = string(Self.name, nameSize)
      return BufferList.Entry(
        size: number(0), count: Int(clamping: number(references)) - layout.ownReferences,
        exporter: string(exporter, exporterSize), inode: number(inode),
        name: name.isEmpty ? nil : name)
    }
  }
}
