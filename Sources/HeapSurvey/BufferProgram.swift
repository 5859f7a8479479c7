/// The program that the kernel runs for each dma-buf: it puts a ``BufferRecord`` into the iterator's file.
///
/// Nine offsets put into forty instructions.
struct BufferProgram {
  let instructions: [BPFInstruction]

  init(_ layout: BufferLayout) {
    let record = -Int16(BufferRecord.size)
    // `struct bpf_iter__dmabuf`, which is the program's only argument: two pointers of 8 bytes.
    let meta = BTF.Field(offset: 0, size: 8)
    let buffer = BTF.Field(offset: 8, size: 8)
    let zeros = stride(from: record, to: 0, by: 8).map { BPFInstruction.storeZero(at: $0) }
    let body: [BPFInstruction] =
      [.load(.r8, .r1, meta), .load(.r8, .r8, layout.output)] + zeros
      + [
        .load(.r2, .r7, layout.size), .store(.r2, at: record),
        // Pointers into the kernel are followed as they are: a load that fails reads as 0.
        .load(.r9, .r7, layout.file),
        .load(.r2, .r9, layout.opened.inode), .load(.r2, .r2, layout.opened.inodeNumber),
        .store(.r2, at: record + BufferRecord.inode),
        .load(.r2, .r9, layout.opened.references),
        .store(.r2, at: record + BufferRecord.references),
      ]
      + Self.copy(
        layout.exporter, to: record + BufferRecord.exporter, BufferRecord.exporterSize)
      + Self.copy(layout.name, to: record + BufferRecord.name, BufferRecord.nameSize)
      + [
        .move(.r1, .r8), .move(.r2, .frame), .add(.r2, Int32(record)),
        .set(.r3, Int32(BufferRecord.size)), .call(.sequenceWrite),
      ]
    // The verifier wants the question: iterators may end with no object.
    instructions =
      [.load(.r7, .r1, buffer), .skipIfZero(.r7, over: Int16(body.count))] + body
      + [.set(.r0, 0), .exit]
  }

  /// The string that a field of the buffer in `r7` points to, cut to `size` bytes with its NUL. What cannot be
  /// read, as a name that nobody gave, is empty.
  private static func copy(
    _ field: BTF.Field, to place: Int16, _ size: Int
  ) -> [BPFInstruction] {
    [
      .move(.r1, .frame), .add(.r1, Int32(place)), .set(.r2, Int32(size)),
      .load(.r3, .r7, field), .call(.probeReadKernelString),
    ]
  }
}

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
