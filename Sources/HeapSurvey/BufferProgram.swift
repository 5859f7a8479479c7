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

/// One instruction of the kernel's virtual machine (`struct bpf_insn`, linux/bpf.h).
struct BPFInstruction: Equatable {
  /// The kernel's `BPF_REG_*`: arguments of a call from `r1` on, its result in `r0`; a call leaves those
  /// from `r6` on; `frame` is the end of the stack.
  enum Register: UInt8 {
    case r0, r1, r2, r3, r4, r5, r6, r7, r8, r9
    case frame
  }

  /// The kernel's `BPF_FUNC_*`.
  enum Helper: Int32 {
    case probeReadKernelString = 115
    case sequenceWrite = 127
  }

  private let code: UInt8
  private var target = Register.r0
  private var source = Register.r0
  private var offset: Int16 = 0
  private var value: Int32 = 0

  /// `target = *(source + field)`.
  static func load(
    _ target: Register, _ source: Register, _ field: BufferLayout.Field
  ) -> Self {
    let width: UInt8 =
      switch field.size {
      case 1: 0x10
      case 2: 0x08
      case 4: 0x00
      default: 0x18
      }
    return Self(code: 0x61 | width, target: target, source: source, offset: field.offset)
  }

  /// `*(frame + offset) = source`, 8 bytes.
  static func store(_ source: Register, at offset: Int16) -> Self {
    Self(code: 0x7b, target: .frame, source: source, offset: offset)
  }

  /// `*(frame + offset) = 0`, 8 bytes.
  static func storeZero(at offset: Int16) -> Self {
    Self(code: 0x7a, target: .frame, offset: offset)
  }

  static func move(_ target: Register, _ source: Register) -> Self {
    Self(code: 0xbf, target: target, source: source)
  }

  static func set(_ target: Register, _ value: Int32) -> Self {
    Self(code: 0xb7, target: target, value: value)
  }

  static func add(_ target: Register, _ value: Int32) -> Self {
    Self(code: 0x07, target: target, value: value)
  }

  static func skipIfZero(_ register: Register, over count: Int16) -> Self {
    Self(code: 0x15, target: register, offset: count)
  }

  static func call(_ helper: Helper) -> Self { Self(code: 0x85, value: helper.rawValue) }

  static let exit = Self(code: 0x95)

  /// As the kernel takes it: registers are bit fields, whose order is the machine's.
  var bytes: [UInt8] {
    #if _endian(little)
      let registers = target.rawValue | source.rawValue << 4
    #else
      let registers = target.rawValue << 4 | source.rawValue
    #endif
    return unsafe [code, registers]
      + withUnsafeBytes(of: offset) { unsafe Array($0) }
      + withUnsafeBytes(of: value) { unsafe Array($0) }
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
