internal import CLinuxHeaps
internal import Glibc
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
    let file = OwnedFD(
      adopting: try call {
        unsafe name.withCString { unsafe CLinuxHeaps_memfd_create($0, flags) }
      })
    let number = file.rawValue
    _ = try call { ftruncate(number, off_t(size)) }
    var seals = CLinuxHeaps_F_SEAL_SHRINK | CLinuxHeaps_F_SEAL_GROW | CLinuxHeaps_F_SEAL_SEAL
    if isOpaque { seals |= CLinuxHeaps_F_SEAL_WRITE | CLinuxHeaps_F_SEAL_FUTURE_WRITE }
    _ = try call { CLinuxHeaps_add_seals(number, seals) }
    return file
  }

  /// Gives a file all its pages, and each of them zeros.
  ///
  /// UDMABUF_CREATE takes pages as they are (memfd_pin_folios, mm/gup.c): those that fallocate(2) gave have what others left in them
  /// until somebody touches them in the file (shmem_fallocate, mm/shmem.c). Those that are not there it makes one by one.
  static func fill(_ file: borrowing OwnedFD, size: UInt64) throws(Errno) {
    let number = file.rawValue
    // Without a mapping: a fault for each page takes three times as long.
    var offset = fillHugePages(number, size)
    let length = Int(pageSize)
    let page = UnsafeMutableRawPointer.allocate(byteCount: length, alignment: 64)
    unsafe memset(page, 0, length)
    defer { unsafe page.deallocate() }
    let most = min(1024, (size - offset) / pageSize)  // UIO_MAXIOV
    let pages = unsafe [iovec](
      repeating: iovec(iov_base: page, iov_len: length), count: Int(most))
    while offset < size {
      let count = CInt(min(most, (size - offset) / pageSize))
      let start = off_t(offset)
      let written = try call { unsafe pwritev(number, pages, count, start) }
      offset += UInt64(written) / pageSize * pageSize
    }
  }

  /// Where the machine has huge pages for memfds (`shmem_enabled`, Documentation/admin-guide/mm/transhuge.rst), which take a fifth of
  /// the time.
  ///
  /// - Returns: Bytes from the file's start that have pages, and zeros.
  private static func fillHugePages(_ number: CInt, _ size: UInt64) -> UInt64 {
    let directory = "/sys/kernel/mm/transparent_hugepage"
    // Of a kernel without: as if there were none so large.
    let hugePage = SmallFile.number("\(directory)/hpage_pmd_size") ?? .max
    guard size >= hugePage, let choice = try? SmallFile.read("\(directory)/shmem_enabled"),
      !choice.holds("[never]"), !choice.holds("[deny]")
    else { return 0 }
    let length = Int(size / hugePage * hugePage)
    let bytes = unsafe mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0)
    guard let bytes = unsafe bytes, unsafe bytes != MAP_FAILED else { return 0 }
    defer { unsafe munmap(bytes, length) }
    unsafe madvise(bytes, length, 14)  // MADV_HUGEPAGE
    // MADV_POPULATE_WRITE, Linux 5.14. A fault gives zeros; where one fails, some pages are written twice.
    return unsafe madvise(bytes, length, 23) == 0 ? UInt64(length) : 0
  }

  /// The name in the link of a descriptor or mapping, "/memfd:NAME (deleted)" (proc(5)); nil for a link to
  /// another file.
  package static func name(link: String) -> String? {
    guard link.hasPrefix("/memfd:"), link.hasSuffix(" (deleted)") else { return nil }
    return String(link.dropFirst(7).dropLast(10))
  }
}
