internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import SystemPackage

/// The kernel's iterator of dma-bufs (Linux 6.16, kernel/bpf/dmabuf_iter.c): the list that debugfs has too, for who
/// may load BPF programs, and where debugfs is not mounted or not built.
enum BufferIterator {
  private static let operation = "list dma-bufs by a BPF iterator"

  static func read() throws(HeapError) -> [BufferList.Entry] {
    let layout = try layout()
    let program = try BPF.load(
      BufferProgram(layout).instructions, at: CLinuxHeaps_BPF_TRACE_ITER, of: layout.function,
      for: operation)
    let bytes = try BPF.attempt(operation) { () throws(Errno) in
      let link = OwnedFD(
        adopting: try call {
          CLinuxHeaps_bpf_link(program.rawValue, CLinuxHeaps_BPF_TRACE_ITER)
        })
      let file = OwnedFD(adopting: try call { CLinuxHeaps_bpf_iterate(link.rawValue) })
      return try BPF.contents(of: file)
    }
    guard let entries = BufferRecord.entries(of: bytes, layout) else {
      throw HeapError(
        .internal, operation, at: "bpf(2)",
        cause: "the kernel wrote \(bytes.count) bytes, in pieces of \(BufferRecord.size)")
    }
    return entries
  }

  static func layout() throws(HeapError) -> BufferLayout {
    let layout = try BPF.layout(for: operation) { types throws(BTF.Malformed) in
      try BufferLayout(types)
    }
    if let layout { return layout }
    throw HeapError(
      .notSupported, operation, at: BPF.typesPath,
      cause: "the kernel has no bpf_iter_dmabuf, which is of Linux 6.16", fix: "a later kernel")
  }
}

/// Where the running kernel keeps what the iterator's program reads, by its BTF.
struct BufferLayout: Equatable {
  /// The number of `bpf_iter_dmabuf`, which programs for the iterator are attached to.
  let function: UInt32
  /// `bpf_iter_meta.seq`.
  let output: BTF.Field
  /// `dma_buf.size`, `exp_name`, `name` and `file`.
  let size: BTF.Field
  let exporter: BTF.Field
  let name: BTF.Field
  let file: BTF.Field
  let opened: FileLayout

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
    opened = try FileLayout(types, behind: file.type)
  }

  /// What the kernel's number is without the iterator's own reference, which it has to the buffer that it shows.
  var ownReferences: Int { 1 - Int(opened.uncounted) }
}
