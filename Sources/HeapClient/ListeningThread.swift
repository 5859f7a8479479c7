internal import Dispatch
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// Hears two connections until both are over.
final class ListeningThread: Sendable {
  private let state: State

  private final class State: Sendable {
    let end = DispatchSemaphore(value: 0)
    let thread = Guarded<pthread_t?>(nil)
    private let connections: Guarded<[Connection]>

    init(_ connections: [Connection]) { self.connections = Guarded(connections) }

    /// Once: the thread shall be the last of the two to hold one that is over.
    func takeConnections() -> [Connection] {
      connections.withLock { connections in
        defer { connections = [] }
        return connections
      }
    }
  }

  init(_ connections: [Connection]) throws(Errno) {
    let state = State(connections)
    self.state = state
    try KernelThread.start("heap-client") {
      state.thread.withLock { $0 = pthread_self() }
      Self.hear(state)
      state.end.signal()
    }
  }

  /// Waits until the sockets are closed; not where the caller is the thread itself.
  func join() {
    if state.thread.withLock({ $0 }) != pthread_self() { state.end.wait() }
  }

  private static func hear(_ state: State) {
    var open = state.takeConnections()
    while !open.isEmpty {
      var events = open.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
      unsafe poll(&events, nfds_t(events.count), -1)
      open = zip(open, events).filter { $1.revents == 0 || $0.hear() }.map(\.0)
    }
  }
}
