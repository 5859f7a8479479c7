internal import Glibc
internal import SystemPackage

/// Reports the close of open files, by inode (inotify(7)).
///
/// Dups, forks, mappings and messages in flight all keep an open file; the report comes when its
/// last reference goes. It can come a moment before the kernel counts the file as closed.
struct CloseEvents: ~Copyable, Sendable {
  /// One watched inode; the number is not used again while this instance lives.
  struct Watch: Hashable, Sendable { fileprivate let number: CInt }

  private let fd: OwnedFD

  init() throws(Errno) {
    fd = OwnedFD(adopting: try call { inotify_init1(CInt(IN_CLOEXEC | IN_NONBLOCK)) })
  }

  /// Readable when a report waits.
  var descriptor: CInt { fd.rawValue }

  func watch(_ descriptor: CInt) throws(Errno) -> Watch {
    let number = fd.rawValue
    return Watch(
      number: try call {
        unsafe inotify_add_watch(number, "/proc/self/fd/\(descriptor)", UInt32(IN_CLOSE))
      })
  }

  /// The kernel drops a watch by itself when its inode goes; an error says that it already has.
  func remove(_ watch: Watch) {
    _ = inotify_rm_watch(fd.rawValue, watch.number)
  }

  /// The watches that were reported since the last time, or nil when the kernel lost some.
  func read() throws(Errno) -> [Watch]? {
    var watches: [Watch] = []
    var lost = false
    let header = MemoryLayout<inotify_event>.size
    let number = fd.rawValue
    while true {
      var length = 0
      // Watches on files report no names, so each event is its header alone.
      let capacity = header * 64
      let buffer = unsafe [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
        length = unsafe Glibc.read(number, buffer.baseAddress!, capacity)
        count = max(length, 0)
      }
      if length <= 0 { break }
      let bytes = unsafe buffer.span.bytes
      var offset = 0
      while offset + header <= length {
        // struct inotify_event: int wd; uint32_t mask, cookie, len.
        let watch = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: CInt.self)
        let mask = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
        let name = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: offset + 12, as: UInt32.self)
        if mask & UInt32(IN_Q_OVERFLOW) != 0 {
          lost = true
        } else if mask & UInt32(IN_IGNORED) == 0 {
          watches.append(Watch(number: watch))
        }
        offset += header + Int(name)
      }
      // Less than there was room for: the queue is empty, no need to be told so.
      if length < capacity { break }
    }
    return lost ? nil : watches
  }
}
