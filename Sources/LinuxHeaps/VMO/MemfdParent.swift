internal import CLibrary
internal import CLinuxHeaps
internal import Synchronization
internal import SystemPackage

/// A memfd that its heap keeps open for reading; its children are other open files of the inode.
///
/// A write lease (`F_SETLEASE`, fcntl(2)) is granted only to the one open file of an inode, so asking
/// for it tells whether any other is left: one held by a descriptor, a mapping or a message, for
/// writing or for reading. A read lease would overlook those that a holder reopened for reading.
final class MemfdParent: Parent, PromisedPages {
  let identity: VMOIdentity
  let kind: VMO.Kind
  private let size: UInt64
  private let fd: OwnedFD

  /// The permission bits that decide how holders can reopen the file.
  private var mode: mode_t { kind == .opaque ? 0o200 : 0o600 }

  /// Makes a memfd and keeps it, as a second open file: leases do not see the first.
  convenience init(_ name: String, size: UInt64, kind: VMO.Kind) throws(Errno) {
    let memfd = try Memfd.create(name, size: size, isOpaque: kind == .opaque)
    try self.init(reopening: memfd, kind)
  }

  /// The same of a memfd that is there already.
  convenience init(reopening memfd: borrowing OwnedFD, _ kind: VMO.Kind) throws(Errno) {
    try Self.checkLeases()
    try self.init(keeping: try memfd.reopened(O_RDONLY), kind)
  }

  /// Keeps the open file of a parent that another process made. A file opened anew would be seen as a
  /// child by leases on the other's copy, and that by this one's.
  convenience init(inherited descriptor: consuming OwnedFD, kind: VMO.Kind) throws(Errno) {
    let number = descriptor.rawValue
    // To be watched it has to be readable; it is closed to readers again right after.
    _ = try call { fchmod(number, 0o600) }
    try self.init(keeping: descriptor, kind)
  }

  private init(keeping descriptor: consuming OwnedFD, _ kind: VMO.Kind) throws(Errno) {
    let number = descriptor.rawValue
    _ = try call { CLinuxHeaps_set_lease_signal(number, Self.leaseSignal) }
    let status = try descriptor.status()
    identity = VMOIdentity(status)
    size = UInt64(status.st_size)
    fd = descriptor
    self.kind = kind
  }

  var descriptor: CInt { fd.rawValue }
  var watchedDescriptor: CInt? { fd.rawValue }

  /// Only now, because a watch needs the right to read (inotify_add_watch(2)).
  func eventsAreWatched() throws(Errno) {
    let (number, mode) = (fd.rawValue, self.mode)
    _ = try call { fchmod(number, mode) }
  }

  /// A new child: an open file of its own, so that its last close is an event.
  func openChild() throws(Errno) -> OwnedFD {
    try fd.reopened(kind == .opaque ? O_WRONLY : O_RDWR)
  }

  /// Copies share the open file, which is all that a lease looks at.
  func children(_ counts: FDInfoFiles, besides copies: Int) throws(Errno) -> Children {
    try Self.isOpenElsewhere(fd.rawValue) ? .some : .none
  }

  func referenceCount() -> Int? { nil }

  /// Bytes that have no page yet: a memfd takes each page at its first use.
  var untouchedBytes: UInt64 {
    // st_blocks counts 512 bytes each, whatever the page size (stat(2)).
    size.less((try? fd.status()).map { UInt64($0.st_blocks) * 512 } ?? 0)
  }

  // MARK: Leases

  /// Who opens the file while the lease is held breaks it, and its owner is told by a signal. The
  /// usual SIGIO would end the process; this one is ignored where nobody asks for it.
  private static let leaseSignal = SIGURG

  /// Whether leases were seen to work here. Where they do not, a buffer could never be seen to be free again.
  private static let leasesWork = Atomic(false)

  private static func checkLeases() throws(Errno) {
    if leasesWork.load(ordering: .relaxed) { return }
    // Reopened, as a parent is: the kernel counts no reader or writer for a memfd's first file.
    let file = try Memfd.create("lh:leases", size: 0).reopened(O_RDONLY)
    if try isOpenElsewhere(file.rawValue) { throw .notSupported }
    leasesWork.store(true, ordering: .relaxed)
  }

  private static func isOpenElsewhere(_ number: CInt) throws(Errno) -> Bool {
    do throws(Errno) {
      _ = try call { CLinuxHeaps_set_lease(number, F_WRLCK) }
    } catch .resourceTemporarilyUnavailable {
      return true
    }
    _ = try call { CLinuxHeaps_set_lease(number, F_UNLCK) }
    return false
  }
}
