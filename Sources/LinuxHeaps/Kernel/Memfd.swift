internal import CLibrary
internal import CLinuxHeaps
package import SystemPackage

/// Makes memory files (memfd_create(2)).
package enum Memfd {
  /// A file of `size` bytes without pages, sealed against shrinking and growing.
  ///
  /// Sealed against more seals as well: a holder that sealed it against writing would lock the others out.
  ///
  /// - Parameters:
  ///   - isOpaque: Sealed against writing too.
  ///   - hugePageSize: Of huge pages of so many bytes, one of the sizes that the kernel has.
  package static func create(
    _ name: String, size: UInt64, isOpaque: Bool = false, hugePageSize: UInt64? = nil
  ) throws(Errno) -> OwnedFD {
    var flags = CLinuxHeaps_MFD_CLOEXEC | CLinuxHeaps_MFD_ALLOW_SEALING
    if let hugePageSize { flags |= CLinuxHeaps_MFD_huge(hugePageSize) }
    let file = try make(name, flags)
    let number = file.rawValue
    _ = try call { ftruncate(number, off_t(size)) }
    var seals = CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_GROW | CLinuxHeaps_F_SEAL_SEAL
    if isOpaque { seals |= CLinuxHeaps_F_SEAL_WRITE | CLinuxHeaps_F_SEAL_FUTURE_WRITE }
    _ = try call { CLinuxHeaps_add_seals(number, seals) }
    return file
  }

  private static let trial = DeadlyCall()

  private static func make(_ name: String, _ flags: UInt32) throws(Errno) -> OwnedFD {
    if trial.isDeadly({ CLinuxHeaps_memfd_create_kills() }) { throw .noFunction }
    return OwnedFD(
      adopting: try call {
        unsafe name.withCString { unsafe CLinuxHeaps_memfd_create($0, flags) }
      })
  }

  /// - Throws: Why this process can make none.
  static func check(_ operation: String) throws(HeapError) {
    do throws(Errno) { _ = try make("lh:trial", CLinuxHeaps_MFD_CLOEXEC) } catch {
      throw failure(error, operation)
    }
  }

  /// What is told where none could be made.
  static func failure(_ error: Errno, _ operation: String) -> HeapError {
    refusal(error).map { HeapError($0, operation, error) } ?? HeapError(error, operation)
  }

  /// Why memfd_create(2) itself answers so, found out by asking it once more; nil where it works.
  static func refusal(_ answer: Errno) -> CallRefusal? {
    guard let refusal = CallRefusal("memfd_create", answer) ?? absence(answer) else { return nil }
    do throws(Errno) {
      _ = try make("lh:trial", CLinuxHeaps_MFD_CLOEXEC)
      return nil
    } catch {
      return error == answer ? refusal : nil
    }
  }

  static func absence(_ answer: Errno) -> CallRefusal? {
    guard answer == .noFunction else { return nil }
    return CallRefusal(
      missing: "memfd_create", option: "CONFIG_MEMFD_CREATE",
      needing: "CONFIG_TMPFS or CONFIG_HUGETLBFS")
  }

  /// Gives a file huge pages, where the machine has such for memfds (`shmem_enabled`, Documentation/admin-guide/mm/transhuge.rst).
  ///
  /// By a fault for each, which clears it. Those that are not there UDMABUF_CREATE makes itself, one by one, and zero
  /// (memfd_pin_folios, mm/gup.c).
  static func takeHugePages(_ file: borrowing OwnedFD, size: UInt64) {
    let directory = "/sys/kernel/mm/transparent_hugepage"
    // Of a kernel without: as if there were none so large.
    let hugePage = SmallFile.number("\(directory)/hpage_pmd_size") ?? .max
    guard size >= hugePage, let choice = try? SmallFile.read("\(directory)/shmem_enabled"),
      !choice.holds("[never]"), !choice.holds("[deny]")
    else { return }
    let length = Int(size / hugePage * hugePage)
    let bytes = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.rawValue, 0)
    guard let bytes = unsafe bytes, unsafe bytes != MAP_FAILED else { return }
    unsafe madvise(bytes, length, 14)  // MADV_HUGEPAGE
    unsafe madvise(bytes, length, 23)  // MADV_POPULATE_WRITE, Linux 5.14
    unsafe munmap(bytes, length)
  }

  /// The name in the link of a descriptor or mapping, "/memfd:NAME (deleted)" (proc(5)); nil for a link to
  /// another file.
  package static func name(link: String) -> String? {
    guard link.hasPrefix("/memfd:"), link.hasSuffix(" (deleted)") else { return nil }
    return String(link.dropFirst(7).dropLast(10))
  }
}
