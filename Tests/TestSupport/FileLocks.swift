import Glibc
import LinuxHeaps

/// Locks of fcntl(2), of one byte each, apart from one another.
package enum FileLocks: CaseIterable, Sendable {
  /// They belong to the open file.
  case openFile
  /// They belong to this process, until it closes a descriptor of the file.
  case process

  package func set(_ count: Int, on descriptor: CInt) throws {
    // F_OFD_SETLK, hidden behind _GNU_SOURCE.
    let command: CInt = self == .openFile ? 37 : F_SETLK
    for index in 0..<count {
      var lock = flock()
      lock.l_type = Int16(F_WRLCK)
      (lock.l_start, lock.l_len) = (off_t(2 * index), 1)
      _ = try call { unsafe fcntl(descriptor, command, &lock) }
    }
  }
}
