internal import CLibrary
internal import SystemPackage

/// Files of `/proc/self/fdinfo` that stay open: one pread(2) reads a dma-buf's count, where opening anew takes three calls and
/// five times as long.
///
/// Procfs looks the descriptor up by its number at each read (`seq_show`, fs/proc/fd.c), so a file that is open here serves
/// whatever has that number now.
package final class FDInfoFiles: Sendable {
  /// By the descriptor's number. The numbers of short-lived buffers come again and again, and are low.
  private let files = Guarded<[SharedFD?]>([])
  /// How many are kept at most.
  package let most: Int
  /// Holders are not trusted: it is asked for their locks first.
  let areStrangers: Bool

  /// Keeps at most an eighth of the descriptors that the process may have, and 1,024.
  package init(ofStrangers areStrangers: Bool = false) {
    self.areStrangers = areStrangers
    most = min(1024, Int(clamping: ResourceLimit(.openFiles).soft) / 8)
  }

  /// References to a dma-buf's open file in the whole system; nil when the descriptor is none of a dma-buf.
  func count(of number: CInt) throws(Errno) -> Int? {
    guard let file = try file(of: number) else { return try FDInfo.read(number)?.count }
    let descriptor = file.fd.rawValue
    // The kernel's text is of 200 bytes and a name of 31. The result is a value, because the closure loses the type of
    // what it throws before Swift 6.3.
    let read = unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 512) {
      text -> Result<Int?, Errno> in
      do throws(Errno) {
        let length = try call { unsafe pread(descriptor, text.baseAddress!, text.count - 1, 0) }
        unsafe text[length] = 0
        return .success(unsafe FDInfo.count(in: text.baseAddress!))
      } catch {
        return .failure(error)
      }
    }
    return try read.get()
  }

  private func file(of number: CInt) throws(Errno) -> SharedFD? {
    guard number < most else { return nil }
    let index = Int(number)
    return try files.withLock { files throws(Errno) in
      if index < files.count, let file = files[index] { return file }
      let file = SharedFD(try .open("/proc/self/fdinfo/\(number)", O_RDONLY))
      if index >= files.count {
        files.append(contentsOf: repeatElement(nil, count: index + 1 - files.count))
      }
      files[index] = file
      return file
    }
  }

  func forget(_ number: CInt) {
    files.withLock { if Int(number) < $0.count { $0[Int(number)] = nil } }
  }

  package var isEmpty: Bool { files.withLock { $0.isEmpty } }

  package func close() { files.withLock { $0 = [] } }
}
