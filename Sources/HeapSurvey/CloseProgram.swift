internal import CLibrary
internal import LinuxHeaps

/// The program that the kernel runs where somebody has let go of an open file: where it is a dma-buf that is watched,
/// with few enough references left, its inode's number goes into a ring buffer.
///
/// It runs as the function ends (fexit), when its reference is gone: whoever is woken and reads the count finds it as low
/// as it was here. By then the file itself may be gone. The kernel lets a program read what was there, without harm, and
/// nobody is misled: of a buffer that is watched there is a reference still.
struct CloseProgram {
  let instructions: [BPFInstruction]

  /// `table` and `ring` are the descriptors of a ``WatchTable`` and a ``RingBuffer``.
  init(_ layout: CloseLayout, table: CInt, ring: CInt) {
    let record = -Int16(RingBuffer.payload)
    let limit = BTF.Field(offset: Int16(WatchTable.firstSlot), size: 1)
    var send = BPFInstruction.map(.r1, ring)
    send += [.move(.r2, .frame), .add(.r2, Int32(record)), .set(.r3, Int32(RingBuffer.payload))]
    send += [.set(.r4, 0), .call(.ringBufferOutput)]
    // What finds no room is counted and then tried again: it either wakes the reader, or the reader has yet to make room
    // and asks for the count afterwards. Counted alone it might be just after the reader asked.
    var rest: [BPFInstruction] = [.set(.r1, 1), .addAtomically(.r1, to: .r8)]
    rest += send
    rest = send + [.skipIfZero(.r0, over: Int16(rest.count))] + rest

    // From the last question to the first: each skips what follows it.
    func prepend(_ instructions: [BPFInstruction], _ skip: (Int16) -> BPFInstruction) {
      rest = instructions + [skip(Int16(rest.count))] + rest
    }
    rest.insert(.store(.r7, at: record), at: 0)
    prepend([.load(.r1, .r6, layout.file.references), .add(.r1, layout.file.uncounted)]) {
      .skip(if: .r1, isAbove: .r9, over: $0)
    }
    var question: [BPFInstruction] = [.load(.r7, .r7, layout.file.inodeNumber), .move(.r9, .r7)]
    question += [.and(.r9, WatchTable.slots - 1), .shiftLeft(.r9, WatchTable.slotShift)]
    question += BPFInstruction.mapValue(.r8, table)
    question += [.add(.r9, .r8), .load(.r9, .r9, limit)]
    prepend(question) { .skipIfZero(.r9, over: $0) }
    // The function's only argument.
    question = [.load(.r6, .r1, BTF.Field(offset: 0, size: 8)), .load(.r7, .r6, layout.file.inode)]
    question += [.load(.r1, .r7, layout.superblock), .load(.r1, .r1, layout.magic)]
    prepend(question) { .skip(if: .r1, isNot: CloseLayout.magicOfBuffers, over: $0) }
    instructions = rest + [.set(.r0, 0), .exit]
  }
}

/// Where the running kernel lets go of open files, and what it keeps of one, by its BTF.
struct CloseLayout: Equatable {
  /// `DMA_BUF_MAGIC` (linux/magic.h).
  static let magicOfBuffers: Int32 = 0x444d_4142

  /// All that take a reference away. What other code calls leads here: fdput(), dma_buf_put(), filp_close().
  ///
  /// Since Linux 6.15: close(2) by `fput_close_sync`; dup2(2), exit and exec by `fput_close`; all else by `fput`. Before:
  /// close(2) by `__fput_sync`, which later kernels keep for threads of their own; all else by `fput`.
  private static func names(_ types: BTF) throws(BTF.Malformed) -> [String] {
    try types.function(named: "fput_close_sync") == nil
      ? ["fput", "__fput_sync"] : ["fput", "fput_close", "fput_close_sync"]
  }

  /// The numbers of those that this kernel has.
  let functions: [UInt32]
  let file: FileLayout
  /// `inode.i_sb` and `super_block.s_magic`.
  let superblock: BTF.Field
  let magic: BTF.Field

  init(_ types: BTF) throws(BTF.Malformed) {
    var functions: [Int] = []
    for name in try Self.names(types) {
      if let function = try types.function(named: name) { functions.append(function) }
    }
    guard let fput = functions.first, let file = try types.parameters(of: fput).first else {
      throw BTF.Malformed("it has no function fput that takes a file")
    }
    self.functions = functions.map { UInt32($0) }
    self.file = try FileLayout(types, behind: file)
    let inode = try types.field(["f_inode"], behind: file)
    let superblock = try types.field(["i_sb"], behind: inode.type)
    self.superblock = superblock.field
    magic = try types.field(["s_magic"], behind: superblock.type).field
  }
}
