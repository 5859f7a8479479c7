internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Hears two connections until both are over.
enum ListeningThread {
  static func start(_ connections: [Connection]) throws(Errno) {
    try KernelThread.start("heap-client") {
      var open = connections
      while !open.isEmpty { open = hear(open) }
    }
  }

  private static func hear(_ connections: [Connection]) -> [Connection] {
    var events = connections.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
    unsafe poll(&events, nfds_t(events.count), -1)
    var open: [Connection] = []
    for (connection, event) in zip(connections, events)
    where event.revents == 0 || connection.hear() { open.append(connection) }
    return open
  }
}
