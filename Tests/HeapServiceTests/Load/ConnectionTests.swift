import Glibc
import LinuxHeaps
import Logging
import SystemPackage
import TestSupport
import Testing

@testable import HeapServer

@Suite struct ConnectionTests {
  private static func copy(of socket: borrowing MessageSocket) throws -> SharedFD {
    try socket.withDescriptor { (number) throws(Errno) in
      SharedFD(OwnedFD(adopting: try call { fcntl(number, F_DUPFD_CLOEXEC, 0) }))
    }
  }

  @Test func `a client whose process cannot be watched is not reported ever after`() throws {
    let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let shared = try Shared(Policy(), Mailbox(), log)
    let pair = try MessageSocket.Pair()
    // Somebody still has it, as the disposer has that closes what is in it.
    let copy = try Self.copy(of: pair.near)
    let socket = ClientSocket(
      accepted: try OddFile.duplicate(copy.fd.rawValue).release(),
      through: FileOwner(user: 0, group: 0), shared.disposer)
    let peer = try #require(socket.peer)
    // epoll_ctl(2) answers EPERM for a file that cannot be polled.
    let process = SharedFD(try Memfd.create("no process", size: pageSize))
    #expect(throws: Errno.notPermitted) {
      _ = try Connections(shared).add(socket, .heap, peer, process: process)
    }
    pair.far.hangUp()
    #expect(shared.poller.wait(until: .now) == 0)
  }

  /// All that it has made are reports, in memfds.
  @Test func `an observer's process is not watched, and it takes one descriptor`() throws {
    let daemon = try Daemon()
    let before = try daemon.settledDescriptorCount()
    let observers = try (0..<8).map { _ in try WireClient.observer(daemon) }
    try daemon.expectDescriptorCount(before + observers.count)
    withExtendedLifetime(observers) {}
  }

  /// The error is read at once and a call that a signal cut short is made again.
  @Test func `a signal does not end a connection`() throws {
    var old = sigaction()
    var ignored = sigaction()
    unsafe ignored.__sigaction_handler.sa_handler = { _ in }
    unsafe sigaction(SIGUSR2, &ignored, &old)
    defer { unsafe sigaction(SIGUSR2, &old, nil) }
    let pair = try MessageSocket.Pair()
    let near = try Self.copy(of: pair.near)
    let thread = Guarded<pthread_t?>(nil)
    let arrivals = Guarded<[String]>([])
    try KernelThread.start("receiver") {
      // It has none of them otherwise.
      var signals = sigset_t()
      unsafe sigaddset(&signals, SIGUSR2)
      unsafe pthread_sigmask(SIG_UNBLOCK, &signals, nil)
      thread.withLock { $0 = pthread_self() }
      var input = ReceiveBuffer(capacity: 16)
      let arrival =
        switch input.receive(near.fd.borrowed) {
        case .message: "message"
        case .nothing: "nothing"
        case .end: "end"
        case .truncated: "truncated"
        }
      arrivals.withLock { $0.append(arrival) }
    }
    #expect(eventually { thread.withLock { $0 } != nil })
    for _ in 0..<5 {
      usleep(20_000)
      if arrivals.withLock({ $0.isEmpty }) { _ = thread.withLock { pthread_kill($0!, SIGUSR2) } }
    }
    try pair.far.send([1])
    #expect(eventually { arrivals.withLock { $0 } == ["message"] })
  }
}
