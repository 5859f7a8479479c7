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
    let search = Search(types: types)
    output = try search.field(["seq"], behind: parameters[0]).field
    size = try search.field(["size"], behind: parameters[1]).field
    exporter = try search.field(["exp_name"], behind: parameters[1]).field
    name = try search.field(["name"], behind: parameters[1]).field
    let file = try search.field(["file"], behind: parameters[1])
    self.file = file.field
    let inode = try search.field(["f_inode"], behind: file.type)
    self.inode = inode.field
    inodeNumber = try search.field(["i_ino"], behind: inode.type).field
    if try types.member("f_ref", of: try types.pointee(of: file.type)) != nil {
      references = try search.field(["f_ref", "refcnt", "counter"], behind: file.type).field
      ownReferences = 0
    } else {
      references = try search.field(["f_count", "counter"], behind: file.type).field
      ownReferences = 1
    }
  }

  private struct Search {
    let types: BTF

    /// A value by the names that lead to it from the struct that a pointer points to.
    func field(
      _ path: [String], behind pointer: Int
    ) throws(BTF.Malformed) -> (field: Field, type: Int) {
      var type = try types.pointee(of: pointer)
      var offset = 0
      for name in path {
        guard let member = try types.member(name, of: type) else {
          throw BTF.Malformed("it has no \(path.joined(separator: "."))")
        }
        offset += member.offset
        type = member.type
      }
      let size = try types.size(of: type)
      guard let short = Int16(exactly: offset), [1, 2, 4, 8].contains(size) else {
        throw BTF.Malformed(
          "\(path.joined(separator: ".")) has \(size) bytes at \(offset), which no instruction loads"
        )
      }
      return (Field(offset: short, size: size), type)
    }
  }
}
