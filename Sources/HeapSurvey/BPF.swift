internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// Programs in the kernel.
///
/// By bpf(2) itself and not by libbpf: that would bring libelf with it, into the static programs too, and wants
/// its programs as objects of a BPF compiler, which a Swift package cannot call. What it would do here is to put
/// a few offsets into a few dozen instructions.
enum BPF {
  static let typesPath = "/sys/kernel/btf/vmlinux"

  /// The programs call helpers that are for programs under the GPL alone, so their instructions may be used under the
  /// GPL, version 2, as well as under the licence of the package. As the kernel reads it (include/linux/license.h).
  private static let license = "Dual MIT/GPL"

  /// What `body` finds in the running kernel's types.
  static func layout<Layout>(
    for operation: String, _ body: (BTF) throws(BTF.Malformed) -> Layout
  ) throws(HeapError) -> Layout {
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try contents(of: .open(typesPath, O_RDONLY))
    } catch {
      throw HeapError(
        error, operation, at: typesPath, fix: "a kernel with CONFIG_DEBUG_INFO_BTF")
    }
    do throws(BTF.Malformed) {
      return try body(try BTF(bytes))
    } catch {
      throw HeapError(.internal, operation, at: typesPath, cause: "\(error)")
    }
  }

  /// A program that runs at a place (`CLinuxHeaps_BPF_TRACE_*`) of a function of the kernel's, once it is linked.
  static func load(
    _ instructions: [BPFInstruction], at place: UInt32, of function: UInt32, for operation: String
  ) throws(HeapError) -> OwnedFD {
    let bytes = instructions.flatMap(\.bytes)
    let count = UInt32(instructions.count)
    func load(_ log: UnsafeMutableBufferPointer<CChar>?) -> CInt {
      unsafe bytes.withUnsafeBytes {
        unsafe CLinuxHeaps_bpf_load(
          $0.baseAddress!, count, place, function, license, log?.baseAddress,
          UInt32(log?.count ?? 0))
      }
    }
    do throws(HeapError) {
      return try attempt(operation) { () throws(Errno) in
        OwnedFD(adopting: try retrying { load(nil) })
      }
    } catch {
      guard let errno = error.errno, errno != .notPermitted else { throw error }
      // Asked again for its reasons, which are long.
      var log = [CChar](repeating: 0, count: 1 << 20)
      let loaded = unsafe log.withUnsafeMutableBufferPointer { unsafe load($0) }
      if loaded >= 0 { return OwnedFD(adopting: loaded) }
      let text = log.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
      let said = String(decoding: text, as: UTF8.self).split(separator: "\n")
      // The last line tells how much the verifier did.
      let reason = said.dropLast().last ?? said.last
      throw HeapError(
        errno, operation, at: "bpf(2)", cause: reason.map { "the verifier says: \($0)" })
    }
  }

  /// Calls of bpf(2).
  static func attempt<Result: ~Copyable>(
    _ operation: String, _ body: () throws(Errno) -> Result
  ) throws(HeapError) -> Result {
    do throws(Errno) { return try body() } catch {
      throw HeapError(
        error, operation, at: "bpf(2)",
        fix: error == .notPermitted ? "run as root, or with CAP_BPF and CAP_PERFMON" : nil)
    }
  }

  /// The verifier gives up with EAGAIN where a signal waits, and an iterator's file where it went over very many
  /// objects at once.
  private static func retrying<Result: SignedInteger>(
    _ body: () -> Result
  ) throws(Errno) -> Result {
    var tries = 0
    while true {
      do throws(Errno) {
        return try call(body)
      } catch  where error == .resourceTemporarilyUnavailable && tries < 16 {
        tries += 1
      }
    }
  }

  /// All that a file says.
  static func contents(of file: borrowing OwnedFD) throws(Errno) -> [UInt8] {
    let number = file.rawValue
    var bytes: [UInt8] = []
    // Of the kernel's types, which are megabytes, sysfs knows the size; an iterator's file has none.
    bytes.reserveCapacity(Int(try file.status().st_size))
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = try retrying {
        unsafe piece.withUnsafeMutableBytes {
          unsafe CLibrary.read(number, $0.baseAddress!, $0.count)
        }
      }
      if count == 0 { return bytes }
      bytes += piece.prefix(count)
    }
  }
}

/// Where the running kernel keeps what programs read of an open file, by its BTF.
struct FileLayout: Equatable {
  /// `file.f_inode` and `inode.i_ino`.
  let inode: BTF.Field
  let inodeNumber: BTF.Field
  /// `file.f_ref`, or `f_count` before Linux 6.13.
  let references: BTF.Field
  /// References that the number does not tell: `f_ref` is one less than there are (`file_ref_t`), `f_count` is as
  /// many.
  let uncounted: Int32

  /// Of the file that a type points to.
  init(_ types: BTF, behind pointer: Int) throws(BTF.Malformed) {
    let inode = try types.field(["f_inode"], behind: pointer)
    self.inode = inode.field
    inodeNumber = try types.field(["i_ino"], behind: inode.type).field
    if try types.member("f_ref", of: try types.pointee(of: pointer)) != nil {
      references = try types.field(["f_ref", "refcnt", "counter"], behind: pointer).field
      uncounted = 1
    } else {
      references = try types.field(["f_count", "counter"], behind: pointer).field
      uncounted = 0
    }
  }
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
    case ringBufferOutput = 130
  }

  private let code: UInt8
  private var target = Register.r0
  private var source = Register.r0
  private var offset: Int16 = 0
  private var value: Int32 = 0

  /// `target = *(source + field)`.
  static func load(
    _ target: Register, _ source: Register, _ field: BTF.Field
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

  static func add(_ target: Register, _ source: Register) -> Self {
    Self(code: 0x0f, target: target, source: source)
  }

  static func and(_ target: Register, _ value: Int32) -> Self {
    Self(code: 0x57, target: target, value: value)
  }

  static func shiftLeft(_ target: Register, _ bits: Int32) -> Self {
    Self(code: 0x67, target: target, value: bits)
  }

  /// `*target += source`, 8 bytes, as one step for all processors; `source` gets what was there before (`BPF_FETCH`, Linux 5.12).
  /// Without that it is ordered with nothing (on arm64 `STADD` and not `LDADDAL`, arch/arm64/net/bpf_jit_comp.c).
  static func addAtomically(_ source: Register, to target: Register) -> Self {
    Self(code: 0xdb, target: target, source: source, value: 1)
  }

  /// What helpers take for a map, by its descriptor: two instructions, whose second has the upper half of nothing.
  static func map(_ target: Register, _ descriptor: CInt) -> [Self] {
    [Self(code: 0x18, target: target, source: .r1, value: descriptor), Self(code: 0)]
  }

  /// Where the one value of an array begins, by the array's descriptor.
  static func mapValue(_ target: Register, _ descriptor: CInt) -> [Self] {
    [Self(code: 0x18, target: target, source: .r2, value: descriptor), Self(code: 0)]
  }

  static func skipIfZero(_ register: Register, over count: Int16) -> Self {
    Self(code: 0x15, target: register, offset: count)
  }

  static func skip(
    if register: Register, isNot value: Int32, over count: Int16
  ) -> Self {
    Self(code: 0x55, target: register, offset: count, value: value)
  }

  /// Of numbers without a sign.
  static func skip(
    if register: Register, isAbove other: Register, over count: Int16
  ) -> Self {
    Self(code: 0x2d, target: register, source: other, offset: count)
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
