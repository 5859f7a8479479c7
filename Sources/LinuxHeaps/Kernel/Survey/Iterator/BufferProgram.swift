/// The program that the kernel runs for each dma-buf: it puts a ``BufferRecord`` into the iterator's file.
///
/// By bpf(2) itself and not by libbpf: that would bring libelf with it, into the static programs too, and wants
/// its programs as objects of a BPF compiler, which a Swift package cannot call. What it would do here is to put
/// nine offsets into forty instructions.
///
/// The helpers are for programs under the GPL alone, so these instructions may be used under the GPL, version
/// 2, as well as under the licence of the package.
struct BufferProgram {
  /// As the kernel reads it (include/linux/license.h).
  static let license = "Dual MIT/GPL"

  let instructions: [BPFInstruction]

  init(_ layout: BufferLayout) {
    let record = -Int16(BufferRecord.size)
    // `struct bpf_iter__dmabuf`, which is the program's only argument: two pointers of 8 bytes.
    let meta = BufferLayout.Field(offset: 0, size: 8)
    let buffer = BufferLayout.Field(offset: 8, size: 8)
    let zeros = stride(from: record, to: 0, by: 8).map { BPFInstruction.storeZero(at: $0) }
    let body: [BPFInstruction] =
      [.load(.r8, .r1, meta), .load(.r8, .r8, layout.output)] + zeros
      + [
        .load(.r2, .r7, layout.size), .store(.r2, at: record),
        // Pointers into the kernel are followed as they are: a load that fails reads as 0.
        .load(.r9, .r7, layout.file),
        .load(.r2, .r9, layout.inode), .load(.r2, .r2, layout.inodeNumber),
        .store(.r2, at: record + BufferRecord.inode),
        .load(.r2, .r9, layout.references), .store(.r2, at: record + BufferRecord.references),
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
    _ field: BufferLayout.Field, to place: Int16, _ size: Int
  ) -> [BPFInstruction] {
    [
      .move(.r1, .frame), .add(.r1, Int32(place)), .set(.r2, Int32(size)),
      .load(.r3, .r7, field), .call(.probeReadKernelString),
    ]
  }

  var bytes: [UInt8] { instructions.flatMap(\.bytes) }
}
