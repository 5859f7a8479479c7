internal import CLinuxHeaps
internal import Synchronization
internal import SystemPackage

/// A dma-buf descriptor that its heap keeps; its children are dups of it.
///
/// fdinfo's `count` is every reference to the open file in the whole system. Left alone with its
/// parent it is 1, so 1 means that no descriptor, mapping, message in flight or device import is
/// left. The kernel sends no event when it falls.
final class DMABufParent: Parent {
  /// The memfd under a udmabuf, of which further slices can be made.
  struct Pages: Sendable {
    let memfd: SharedFD
    /// Bytes from the memfd's start to the dma-buf's.
    let offset: UInt64
    /// What is given back when the dma-buf is closed.
    var part: HugePart?
  }

  let identity: VMOIdentity
  let kind = VMO.Kind.dmaBuf
  let watchedDescriptor: CInt? = nil
  // Before what goes with it: a class lets go of its properties in their order.
  private let fd: OwnedFD
  let pages: Pages?
  /// Whether nobody else had it when that was looked for last.
  private let wasFree = Atomic(false)

  /// Keeps a new dma-buf and names it for every tool that lists them.
  ///
  /// Where counts cannot be read, a buffer could never be seen to be free again: none is made there.
  init(_ descriptor: consuming OwnedFD, of key: BufferKey, pages: Pages? = nil) throws(Errno) {
    try DMABuf.setName(key, of: descriptor.rawValue)
    identity = VMOIdentity(try descriptor.status())
    try Self.checkCounts(descriptor.rawValue)
    self.pages = pages
    fd = descriptor
  }

  var descriptor: CInt { fd.rawValue }

  /// Whether counts were seen to be told here: /proc can be absent, or hidden.
  private static let countsAreTold = Atomic(false)

  private static func checkCounts(_ number: CInt) throws(Errno) {
    if countsAreTold.load(ordering: .relaxed) { return }
    if try FDInfo.read(number) == nil { throw .inappropriateIOCTLForDevice }
    countsAreTold.store(true, ordering: .relaxed)
  }

  /// A new child: a dup, because a dma-buf cannot be reopened.
  func openChild() throws(Errno) -> OwnedFD { try fd.duplicate() }

  func eventsAreWatched() {}

  func referenceCount() throws(Errno) -> Int? {
    if let info = try FDInfo.read(fd.rawValue) { return info.count }
    CLinuxHeaps_remove_locks(fd.rawValue)
    // What cannot be read must not be taken for free.
    guard let info = try FDInfo.read(fd.rawValue) else { throw .ioError }
    return info.count
  }

  func children(_ counts: FDInfoFiles, besides copies: Int) throws(Errno) -> Children {
    guard let count = try countWithoutLocks(counts) else {
      wasFree.store(false, ordering: .relaxed)
      return .some
    }
    let others = count - 1
    wasFree.store(others <= 0, ordering: .relaxed)
    if others <= 0 { return .none }
    return others > copies ? .some : .copies
  }

  /// Fdinfo lists the locks that belong to the open file before what a dma-buf tells (`seq_show`, fs/proc/fd.c), and they stay for as
  /// long as the parent. Who sets new ones meanwhile has a child: nil.
  ///
  /// The kernel prints all of them for each read, which takes more than ten times as long as to take them away, and to ask for the first takes
  /// one call. A process's own go when it closes a descriptor of the file: it has a child.
  private func countWithoutLocks(_ counts: FDInfoFiles) throws(Errno) -> Int? {
    if counts.areStrangers, CLinuxHeaps_is_locked_by_others(fd.rawValue) {
      CLinuxHeaps_remove_locks(fd.rawValue)
      if CLinuxHeaps_is_locked_by_others(fd.rawValue) { return nil }
    }
    if let count = try counts.count(of: fd.rawValue) { return count }
    CLinuxHeaps_remove_locks(fd.rawValue)
    // The kernel's buffer for so long a text would stay with the file.
    counts.forget(fd.rawValue)
    return try counts.count(of: fd.rawValue)
  }

  /// A server that ends lets go of buffers that others hold: the bytes are theirs for as long as the huge page is there.
  deinit {
    guard let part = pages?.part, !wasFree.load(ordering: .relaxed) else { return }
    if (try? referenceCount()) != 1 { part.keep() }
  }
}

extension VMO {
  /// The memfd under a udmabuf that this process made, with the vmo's first byte in it; nil for other memory, and for
  /// huge pages, which are mapped whole.
  ///
  /// A device can be made to write to a mapping of the memfd, whose pages are ordinary ones. To one of the dma-buf it cannot
  /// (VM_PFNMAP: EFAULT).
  package var pages: (memfd: SharedFD, offset: UInt64)? {
    let identity = identity
    // The vmo keeps the buffer.
    let parent: DMABufParent? = ReclaimerCore.buffer(of: identity)?.core.withTable { table in
      table.place(of: identity).flatMap { table[$0].family.parent(identity) as? DMABufParent }
    }
    guard let pages = parent?.pages, pages.part == nil else { return nil }
    return (pages.memfd, pages.offset + offset)
  }
}
