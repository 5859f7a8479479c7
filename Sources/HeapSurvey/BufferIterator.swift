internal import CLinuxHeaps
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// The kernel's iterator of dma-bufs (Linux 6.16, kernel/bpf/dmabuf_iter.c): the list that debugfs has too, for who
/// may load BPF programs, and where debugfs is not mounted or not built.
enum BufferIterator {
  static let typesPath = "/sys/kernel/btf/vmlinux"
  private static let operation = "list dma-bufs by a BPF iterator"

  static func read() throws(HeapError) -> [BufferList.Entry] {
    let layout = try layout()
    let program = try load(BufferProgram(layout), for: layout.function)
    let bytes = try attempt(operation, at: "bpf(2)") { () throws(Errno) in
      let link = OwnedFD(
        adopting: try call { CLinuxHeaps_bpf_link_iterator(program.rawValue) })
      let file = OwnedFD(adopting: try call { CLinuxHeaps_bpf_iterate(link.rawValue) })
      return try all(of: file)
    }
    guard let entries = BufferRecord.entries(of: bytes, layout) else {
      throw HeapError(
        .internal, operation, at: "bpf(2)",
        cause: "the kernel wrote \(bytes.count) bytes, in pieces of \(BufferRecord.size)")
    }
    return entries
  }

  static func layout() throws(HeapError) -> BufferLayout {
    let bytes: [UInt8]
    do throws(Errno) {
      bytes = try all(of: .open(typesPath, O_RDONLY))
    } catch {
      throw HeapError(
        error, operation, at: typesPath, fix: "a kernel with CONFIG_DEBUG_INFO_BTF")
    }
    do throws(BTF.Malformed) {
      if let layout = try BufferLayout(try BTF(bytes)) { return layout }
    } catch {
      throw HeapError(.internal, operation, at: typesPath, cause: "\(error)")
    }
    throw HeapError(
      .notSupported, operation, at: typesPath,
      cause: "the kernel has no bpf_iter_dmabuf, which is of Linux 6.16", fix: "a later kernel")
  }

  private static func load(
    _ program: BufferProgram, for function: UInt32
  ) throws(HeapError) -> OwnedFD {
    let bytes = program.bytes
    let count = UInt32(program.instructions.count)
    func load(_ log: UnsafeMutableBufferPointer<CChar>?) -> CInt {
      unsafe bytes.withUnsafeBytes {
        unsafe CLinuxHeaps_bpf_load_iterator(
          $0.baseAddress!, count, function, BufferProgram.license, log?.baseAddress,
          UInt32(log?.count ?? 0))
      }
    }
    do throws(Errno) {
      return OwnedFD(adopting: try retrying { load(nil) })
    } catch  where error == .notPermitted {
      throw HeapError(
        error, operation, at: "bpf(2)", fix: "run as root, or with CAP_BPF and CAP_PERFMON")
    } catch {
      // Asked again for its reasons, which are long.
      var log = [CChar](repeating: 0, count: 1 << 20)
      let loaded = unsafe log.withUnsafeMutableBufferPointer { unsafe load($0) }
      if loaded >= 0 { return OwnedFD(adopting: loaded) }
      let text = log.prefix { $0 != 0 }.map(UInt8.init(bitPattern:))
      let said = String(decoding: text, as: UTF8.self).split(separator: "\n")
      // The last line tells how much the verifier did.
      let reason = said.dropLast().last ?? said.last
      throw HeapError(
        error, operation, at: "bpf(2)", cause: reason.map { "the verifier says: \($0)" })
    }
  }

  /// The verifier gives up with EAGAIN where a signal waits, and the file where it went over very many
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

  private static func all(of file: borrowing OwnedFD) throws(Errno) -> [UInt8] {
    let number = file.rawValue
    var bytes: [UInt8] = []
    var piece = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      let count = try retrying {
        unsafe piece.withUnsafeMutableBytes { unsafe Glibc.read(number, $0.baseAddress!, $0.count) }
      }
      if count == 0 { return bytes }
      bytes += piece.prefix(count)
    }
  }
}

/// Where the running kernel keeps what the iterator's program reads, by its BTF.
struct BufferLayout: Equatable {
  /// A value in a struct, as one instruction loads it.
  struct Field: Equatable {
    let offset: Int16
    /// 1, 2, 4 or 8 bytes.
    let size: Int
  }

  /// The number of `bpf_iter_dmabuf`, which programs for the iterator are attached to.
  let function: UInt32
  /// `bpf_iter_meta.seq`.
  let output: Field
  /// `dma_buf.size`, `exp_name`, `name` and `file`.
  let size: Field
  let exporter: Field
  let name: Field
  let file: Field
  /// `file.f_inode` and `inode.i_ino`.
  let inode: Field
  let inodeNumber: Field
  /// `file.f_ref`, or `f_count` before Linux 6.13.
  let references: Field
  /// What the kernel's number is without the iterator's own reference. `f_ref` is one less than the
  /// references (`file_ref_t`), `f_count` is as many; and the iterator holds the buffer that it shows.
  let ownReferences: Int

  /// Nil where the kernel has no such iterator.
  init?(_ types: BTF) throws(BTF.Malformed) {
    guard let function = try types.function(named: "bpf_iter_dmabuf") else { return nil }
    self.function = UInt32(function)
    let parameters = try types.parameters(of: function)
    guard parameters.count == 2 else {
      throw BTF.Malformed("bpf_iter_dmabuf has \(parameters.count) parameters, not 2")
    }
    output = try types.field(["seq"], behind: parameters[0]).field
    size = try types.field(["size"], behind: parameters[1]).field
    exporter = try types.field(["exp_name"], behind: parameters[1]).field
    name = try types.field(["name"], behind: parameters[1]).field
    let file = try types.field(["file"], behind: parameters[1])
    self.file = file.field
    let inode = try types.field(["f_inode"], behind: file.type)
    self.inode = inode.field
    inodeNumber = try types.field(["i_ino"], behind: inode.type).field
    if try types.member("f_ref", of: try types.pointee(of: file.type)) != nil {
      references = try types.field(["f_ref", "refcnt", "counter"], behind: file.type).field
      ownReferences = 0
    } else {
      references = try types.field(["f_count", "counter"], behind: file.type).field
      ownReferences = 1
    }
  }
}

extension BTF {
  /// A value by the names that lead to it from the struct that a pointer points to.
  fileprivate func field(
    _ path: [String], behind pointer: Int
  ) throws(Malformed) -> (field: BufferLayout.Field, type: Int) {
    var type = try pointee(of: pointer)
    var offset = 0
    for name in path {
      guard let member = try member(name, of: type) else {
        throw Malformed("it has no \(path.joined(separator: "."))")
      }
      offset += member.offset
      type = member.type
    }
    let size = try size(of: type)
    guard let short = Int16(exactly: offset), [1, 2, 4, 8].contains(size) else {
      throw Malformed(
        "\(path.joined(separator: ".")) has \(size) bytes at \(offset), which no instruction loads")
    }
    return (BufferLayout.Field(offset: short, size: size), type)
  }
}
