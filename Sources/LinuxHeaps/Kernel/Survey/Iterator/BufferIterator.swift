internal import CLinuxHeaps
internal import Glibc
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
      let size = Int(try OwnedFD.open(typesPath, O_RDONLY).status().st_size)
      bytes = try SmallFile.bytes(typesPath, limit: min(size, 256 << 20))
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
