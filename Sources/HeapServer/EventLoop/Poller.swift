internal import CLinuxHeaps
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Waits for many descriptors at once (epoll(7), level-triggered).
struct Poller: ~Copyable {
  struct Event {
    let source: EventSource
    let isReadable: Bool
    let isWritable: Bool
    /// The other end is closed, or the descriptor has an error.
    let isHungUp: Bool
  }

  private let fd: OwnedFD

  init() throws(Errno) {
    fd = OwnedFD(adopting: try call { epoll_create1(CInt(EPOLL_CLOEXEC)) })
  }

  func add(_ descriptor: CInt, _ source: EventSource) throws(Errno) {
    try control(EPOLL_CTL_ADD, descriptor, source, reading: true, writing: false)
  }

  func change(_ descriptor: CInt, _ source: EventSource, reading: Bool, writing: Bool) {
    // It was added before, so there is nothing that could fail.
    try? control(EPOLL_CTL_MOD, descriptor, source, reading: reading, writing: writing)
  }

  func remove(_ descriptor: CInt) {
    var event = unsafe epoll_event()
    _ = unsafe epoll_ctl(fd.rawValue, EPOLL_CTL_DEL, descriptor, &event)
  }

  private func control(
    _ operation: CInt, _ descriptor: CInt, _ source: EventSource, reading: Bool, writing: Bool
  ) throws(Errno) {
    let poller = fd.rawValue
    let events = (reading ? EPOLLIN.rawValue : 0) | (writing ? EPOLLOUT.rawValue : 0)
    var event = unsafe epoll_event(events: events, data: epoll_data_t(u64: source.rawValue))
    _ = try call { unsafe epoll_ctl(poller, operation, descriptor, &event) }
  }

  /// - Parameter until: Nil for no limit.
  func wait(until: MonotonicTime?) -> [Event] {
    let milliseconds = until?.millisecondsFromNow ?? -1
    return unsafe withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 64) { buffer in
      let count = unsafe epoll_wait(
        fd.rawValue, buffer.baseAddress!, CInt(buffer.count), milliseconds)
      return unsafe buffer.prefix(max(Int(count), 0)).map { event in
        let events = unsafe event.events
        return Event(
          source: EventSource(rawValue: unsafe event.data.u64),
          isReadable: events & EPOLLIN.rawValue != 0,
          isWritable: events & EPOLLOUT.rawValue != 0,
          isHungUp: events & (EPOLLHUP.rawValue | EPOLLERR.rawValue) != 0)
      }
    }
  }
}
