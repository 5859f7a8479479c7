internal import CLibrary
internal import CLinuxHeaps
package import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// Hears when references to dma-bufs fall, in whichever process, by a BPF program on the way of each close.
///
/// An event is a hint, and the buffer's count decides. An event may be of another buffer whose number ends in the same 15
/// bits. Events can be lost, and ``read()`` and ``missed()`` say so. Now and then there is none: the kernel does not run
/// a program that a task which was preempted or interrupted on that processor is in (`__bpf_prog_enter_recur`,
/// kernel/bpf/trampoline.c), and says so only when asked, ``missed()``; and where another program comes or goes on the same
/// function, calls that are under way end without any, and nobody is told (`bpf_tramp_image_put`). So whoever relies on it still
/// has to look, but seldom.
///
/// Loading it takes BTF, CAP_BPF and CAP_PERFMON, and nothing that follows takes a right: the kernel links a program for
/// whoever has its descriptor, reads what is watched from memory that this process writes, and writes the events into
/// memory that it reads. bpf(2) itself is needed to attach and to ask what was missed.
///
/// What it costs on Debian's 7.3.4, emulated, with one processor (medians; Tests/Kernel/iterator.sh with
/// `LINUXHEAPS_MEASURE` set). While attached, each close(2) of any file on the machine takes 1.05 µs instead of 0.71, and
/// so, 1.22 instead of 0.86, does each pread(2) in a process of several threads, which takes and drops a reference.
/// ``attach()`` and ``detach()`` take 44 ms each, most of it waiting. A peer's close is known here after 0.6 ms. Beside
/// four processes that do nothing but close, 155 of 1,000 last closes were not heard.
package final class DMABufCloses: Sendable {
  private static let operation = "hear the last close of dma-bufs by BPF"

  private struct State: ~Copyable {
    let table: WatchTable
    let ring: RingBuffer
    let programs: [SharedFD]
    /// As many as programs, or none.
    var links: [SharedFD] = []
    var lost: UInt64 = 0
  }

  /// Readable, for epoll_wait(2), while events wait.
  package let descriptor: CInt
  private let state: Guarded<State>

  /// - Throws: ``HeapError`` where the kernel has no BTF, or this process may not load programs.
  package convenience init() throws(HeapError) { try self.init(ringBytes: 1 << 16) }

  /// `ringBytes` is a power of two and whole pages; an event takes 16.
  init(ringBytes: Int) throws(HeapError) {
    // Maps first: where they are refused the kernel's types, megabytes of them, need not be read.
    let table = try BPF.attempt(Self.operation) { () throws(Errno) in try WatchTable() }
    let ring = try BPF.attempt(Self.operation) { () throws(Errno) in
      try RingBuffer(byteCount: ringBytes)
    }
    let layout = try BPF.layout(for: Self.operation) { types throws(BTF.Malformed) in
      try CloseLayout(types)
    }
    let program = CloseProgram(layout, table: table.fd.rawValue, ring: ring.fd.rawValue)
    var programs: [SharedFD] = []
    for function in layout.functions {
      programs.append(
        SharedFD(
          try BPF.load(
            program.instructions, at: CLinuxHeaps_BPF_TRACE_FEXIT, of: function,
            for: Self.operation)))
    }
    descriptor = ring.fd.rawValue
    state = Guarded(State(table: table, ring: ring, programs: programs))
  }

  /// Links the program to the kernel's functions, where it is not: all closes of the machine pass it from now on. What went
  /// before it returns may not have been heard.
  ///
  /// - Throws: ``HeapError`` where that is refused.
  package func attach() throws(HeapError) {
    try state.withLock { state throws(HeapError) in
      guard state.links.isEmpty else { return }
      var links: [SharedFD] = []
      for program in state.programs {
        links.append(
          SharedFD(
            try BPF.attempt(Self.operation) { () throws(Errno) in
              OwnedFD(
                adopting: try call {
                  CLinuxHeaps_bpf_link(program.fd.rawValue, CLinuxHeaps_BPF_TRACE_FEXIT)
                })
            }))
      }
      state.links = links
    }
  }

  /// Takes the program off the way of the machine's closes. What is watched stays so for the next ``attach()``.
  package func detach() { state.withLock { $0.links = [] } }

  /// Tells of the buffer from now on, while attached, whenever a reference goes and at most `references` are left, 1 to
  /// 255: as many as there are to a buffer that nobody uses, a descriptor in systemd's store among them.
  ///
  /// References go for a moment with most system calls of a process with several threads, so one more than that would tell
  /// of each ioctl(2) of a holder.
  package func watch(_ inode: UInt64, downTo references: UInt8 = 1) {
    precondition(references > 0, "who watches a buffer has a reference")
    state.withLock { $0.table.add(inode, references) }
  }

  /// Undoes one ``watch(_:downTo:)``.
  package func unwatch(_ inode: UInt64) { state.withLock { $0.table.remove(inode) } }

  /// The buffers whose references fell since the last time, by inode, and others at times; nil where events were lost:
  /// every buffer may be meant then. Never waits.
  package func read() -> [UInt64]? {
    state.withLock { state in
      let inodes = state.ring.drain()
      let lost = state.table.lost
      if lost == state.lost { return inodes }
      state.lost = lost
      return nil
    }
  }

  /// How many closes the program did not see since it was loaded, of any file, and how many events were lost, as far as that is
  /// counted.
  ///
  /// A lost event need not wake the reader: the ring's lock can be refused as well as room in it, when whoever has it is not
  /// let on for a quarter of a second (`raw_res_spin_lock_irqsave`, kernel/bpf/ringbuf.c since Linux 6.15).
  package func missed() throws(HeapError) -> UInt64 {
    try state.withLock { state throws(HeapError) in
      var sum = state.table.lost
      for program in state.programs {
        sum += try BPF.attempt(Self.operation) { () throws(Errno) in
          var count: UInt64 = 0
          _ = try call { unsafe CLinuxHeaps_bpf_missed(program.fd.rawValue, &count) }
          return count
        }
      }
      return sum
    }
  }
}

/// What ``CloseProgram`` asks about a buffer: the value of a map, which this process writes by plain stores.
///
/// It begins with the number of lost events. A slot of two bytes follows for each number that the lower bits of an inode
/// can be, which for dma-bufs are consecutive: the references at which an event is due, 0 for none, and how many buffers
/// of the slot are watched, which the program does not look at.
@safe struct WatchTable: ~Copyable, @unchecked Sendable {
  static let slots: Int32 = 1 << 15
  static let slotShift: Int32 = 1
  static let firstSlot = 8
  private static let byteCount = firstSlot + Int(slots) << slotShift

  let fd: OwnedFD
  private let pages: SharedPages

  init() throws(Errno) {
    let fd = OwnedFD(adopting: try call { CLinuxHeaps_bpf_shared_value(UInt32(Self.byteCount)) })
    let pages = try SharedPages(of: fd, byteCount: Self.byteCount, writable: true)
    self.fd = fd
    self.pages = pages
  }

  func add(_ inode: UInt64, _ references: UInt8) {
    let slot = Self.place(of: inode)
    let limit = unsafe pages.word(UInt8.self, at: slot)
    let watched = unsafe pages.word(UInt8.self, at: slot + 1)
    let count = unsafe watched.pointee.load(ordering: .relaxed)
    // More are not counted: the slot stays.
    if count < .max { unsafe watched.pointee.store(count + 1, ordering: .relaxed) }
    let before = unsafe limit.pointee.load(ordering: .relaxed)
    unsafe limit.pointee.store(max(before, references), ordering: .relaxed)
    // Whoever watches then reads the count, by the kernel; a close lowers it and then reads this. One of both has to see
    // the other.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
  }

  func remove(_ inode: UInt64) {
    let slot = Self.place(of: inode)
    let watched = unsafe pages.word(UInt8.self, at: slot + 1)
    let count = unsafe watched.pointee.load(ordering: .relaxed)
    precondition(count > 0, "a buffer that is not watched")
    if count == .max { return }
    unsafe watched.pointee.store(count - 1, ordering: .relaxed)
    if count == 1 { unsafe pages.word(UInt8.self, at: slot).pointee.store(0, ordering: .relaxed) }
  }

  var lost: UInt64 { unsafe pages.word(UInt64.self, at: 0).pointee.load(ordering: .acquiring) }

  private static func place(of inode: UInt64) -> Int {
    firstSlot + Int(truncatingIfNeeded: inode & UInt64(slots - 1)) << slotShift
  }
}

/// The reader's end of a ring buffer of the kernel's, of numbers (Documentation/bpf/ringbuf.rst): a page with the reader's
/// place, a page with the writers', and the records twice in a row, so that each is in one piece.
@safe struct RingBuffer: ~Copyable, @unchecked Sendable {
  /// Bytes of a record's content, an inode's number; 8 bytes go before it.
  static let payload = 8
  /// `BPF_RINGBUF_BUSY_BIT` and `BPF_RINGBUF_DISCARD_BIT`.
  private static let busy: UInt32 = 1 << 31
  private static let discarded: UInt32 = 1 << 30

  let fd: OwnedFD
  private let byteCount: Int
  private let reader: SharedPages
  private let writers: SharedPages
  private let firstRecord: Int

  init(byteCount: Int) throws(Errno) {
    let page = Int(pageSize)
    let fd = OwnedFD(adopting: try call { CLinuxHeaps_bpf_ring(UInt32(byteCount)) })
    let reader = try SharedPages(of: fd, byteCount: page, writable: true)
    let writers = try SharedPages(
      of: fd, from: page, byteCount: page + 2 * byteCount, writable: false)
    self.fd = fd
    self.byteCount = byteCount
    self.reader = reader
    self.writers = writers
    firstRecord = page
  }

  /// All that is there as it begins. What comes meanwhile leaves the descriptor readable.
  func drain() -> [UInt64] {
    var numbers: [UInt64] = []
    let place = unsafe reader.word(UInt64.self, at: 0)
    var position = unsafe place.pointee.load(ordering: .relaxed)
    let end = unsafe writers.word(UInt64.self, at: 0).pointee.load(ordering: .acquiring)
    while position < end {
      let record = firstRecord + Int(truncatingIfNeeded: position) & (byteCount - 1)
      let head = unsafe writers.word(UInt32.self, at: record).pointee.load(ordering: .acquiring)
      // Being written. Whoever does it wakes the reader, who has come as far as here.
      if head & Self.busy != 0 { break }
      if head & Self.discarded == 0 {
        let number = unsafe writers.word(UInt64.self, at: record + 8).pointee
          .load(ordering: .relaxed)
        if number != numbers.last { numbers.append(number) }
      }
      position += UInt64(8 + Self.payload)
      unsafe place.pointee.store(position, ordering: .releasing)
      // Before the next head, the number of lost events and the kernel's own look at the writers' place are read: a writer
      // does its part and then reads this one, to know whether to wake the reader.
      atomicMemoryFence(ordering: .sequentiallyConsistent)
    }
    return numbers
  }
}

/// Pages that this process shares with the kernel; unmapped at the end. All words are read and written whole.
@safe private struct SharedPages: ~Copyable {
  private let base: UnsafeMutableRawPointer
  private let byteCount: Int

  init(
    of file: borrowing OwnedFD, from offset: Int = 0, byteCount: Int, writable: Bool
  ) throws(Errno) {
    let address = unsafe mmap(
      nil, byteCount, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, file.rawValue,
      off_t(offset))
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw Errno(rawValue: errno)
    }
    unsafe base = address
    self.byteCount = byteCount
  }

  deinit { _ = unsafe munmap(base, byteCount) }

  func word<Word: AtomicRepresentable>(
    _: Word.Type, at offset: Int
  ) -> UnsafeMutablePointer<Atomic<Word>> {
    precondition(offset >= 0 && offset <= byteCount - MemoryLayout<Word>.size)
    return unsafe (base + offset).assumingMemoryBound(to: Atomic<Word>.self)
  }
}
