import Glibc

@testable import LinuxHeaps

/// A pipe whose writing end someone else is to close.
struct Pipe: ~Copyable {
  let reading: OwnedFD
  private var writing: OwnedFD?

  init() throws {
    var ends: [CInt] = [-1, -1]
    _ = try call { unsafe pipe(&ends) }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    self.init(reading: OwnedFD(adopting: ends[0]), writing: OwnedFD(adopting: ends[1]))
  }

  private init(reading: consuming OwnedFD, writing: consuming OwnedFD?) {
    self.reading = reading
    self.writing = writing
  }

  mutating func takeWritingEnd() -> OwnedFD { writing.take()! }

  /// True a moment later where an exit test has just forked this process: see ``eventuallyHolds(_:)``.
  var isHungUp: Bool {
    var descriptor = pollfd(fd: reading.rawValue, events: Int16(POLLIN), revents: 0)
    unsafe poll(&descriptor, 1, 0)
    return descriptor.revents & Int16(POLLHUP) != 0
  }
}
