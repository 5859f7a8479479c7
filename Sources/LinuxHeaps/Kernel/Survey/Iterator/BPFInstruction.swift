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
