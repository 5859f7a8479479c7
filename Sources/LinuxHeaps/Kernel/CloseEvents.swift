internal import CLibrary
internal import CLinuxHeaps
package import SystemPackage

/// Reports the close of open files, by inode (inotify(7)).
///
/// Dups, forks, mappings and messages in flight all keep an open file; the report comes when its
/// last reference goes. It can come a moment before the kernel counts the file as closed.
package struct CloseEvents: ~Copyable, Sendable {
  /// One watched inode; the number is not used again while this instance lives.
  package struct Watch: Hashable, Sendable { let number: CInt }

  private let fd: OwnedFD

  package init() throws(Errno) {
    fd = OwnedFD(adopting: try call { inotify_init1(CInt(IN_CLOEXEC | IN_NONBLOCK)) })
  }

  /// Readable when a report waits.
  package var descriptor: CInt { fd.rawValue }

  func watch(_ descriptor: CInt) throws(Errno) -> Watch {
    let number = fd.rawValue
    return Watch(number: try call { CLinuxHeaps_watch_closes(number, descriptor) })
  }

  /// Watches the children of a new parent; nil where the kernel reports no close of theirs.
  package func watch(_ parent: any Parent) throws(Errno) -> Watch? {
    var watch: Watch?
    do throws(Errno) {
      if let descriptor = parent.watchedDescriptor { watch = try self.watch(descriptor) }
      try parent.eventsAreWatched()
    } catch {
      if let watch { remove(watch) }
      throw error
    }
    return watch
  }

  /// The kernel drops a watch by itself when its inode goes; an error says that it already has.
  package func remove(_ watch: Watch) {
    _ = inotify_rm_watch(fd.rawValue, watch.number)
  }

  /// The watches that were reported since the last time, or nil when the kernel lost some.
  package func read() throws(Errno) -> [Watch]? {
    var watches: [Watch] = []
    var lost = false
    let number = fd.rawValue
    // Watches on files report no names, so each event is its header alone.
    unsafe withUnsafeTemporaryAllocation(of: inotify_event.self, capacity: 64) { events in
      let capacity = events.count * MemoryLayout<inotify_event>.stride
      while true {
        let length = unsafe CLibrary.read(number, events.baseAddress!, capacity)
        if length <= 0 {
          // What it took from its queue and could not give is gone.
          if length < 0 && errno != EAGAIN { lost = true }
          break
        }
        for index in 0..<length / MemoryLayout<inotify_event>.stride {
          let event = unsafe events[index]
          if event.mask & UInt32(IN_Q_OVERFLOW) != 0 {
            lost = true
          } else if event.mask & UInt32(IN_IGNORED) == 0 {
            watches.append(Watch(number: event.wd))
          }
        }
        // Less than there was room for: the queue is empty, no need to be told so.
        if length < capacity { break }
      }
    }
    return lost ? nil : watches
  }
}
