import Foundation
import Glibc
import HeapProtocol
import LinuxHeaps
import TestSupport
import Testing

/// Files whose close waits for as long as a client likes, and no signal ends that, in every way that they can come in. Nobody else may
/// notice, and the server ends when it is told to.
@Suite(.enabled(if: TestUser.isRoot, "needs root, to be two users"))
struct HeldPipeTests {
  enum Way: CaseIterable { case malformed, unknownMethod, tracker, hangUp, refused }

  @Test(arguments: Way.allCases)
  func `a file whose close cannot be interrupted delays nobody`(_ way: Way) throws {
    let scene = try Scene(
      configuration: way == .refused ? "allow-users = 0, \(TestUser.second.user)\n" : nil,
      arguments: ["--mode", "0666"])
    let other = try WireClient.heap(scene.daemon, as: .second)
    let quiet = try Self.latency(other)
    // More than heapd lets one user have.
    let pipes = try (0..<5).map { _ in try HeldPipe() }
    let clients = try pipes.map { try Self.send($0, to: scene.daemon, way) }
    let isKept = try eventually { try scene.daemon.unclosed > 0 }
    #expect(isKept)
    for _ in 0..<5 {
      let isServed = try (0..<5).contains { _ in try Self.latency(other) < quiet * 10 }
      #expect(isServed)
      _ = try WireClient.heap(scene.daemon, as: .second)
      usleep(100_000)
    }
    // For a moment each may be in the kernel.
    let canBeKilled = try eventually { try scene.daemon.threadsThatCannotBeKilled == 0 }
    #expect(canBeKilled)
    for pipe in pipes { pipe.release() }
    for client in clients { client?.hangUp() }
    other.hangUp()
    let isClosed = try eventually { try scene.daemon.unclosed == 0 }
    #expect(isClosed)
    try scene.expectUnharmed()
    let processes = try scene.daemon.closers
    #expect(processes.count <= 3)
  }

  @Test(arguments: [false, true])
  func `a crowd with such files keeps nobody out, and nothing from ending`(isKilled: Bool) throws {
    let daemon = try Daemon(
      configuration: "user-connections = 1000", arguments: ["--mode", "0666"], openFolder: true)
    let other = try WireClient.heap(daemon, as: .second)
    let quiet = try Self.latency(other)
    let pipes = try (0..<20).map { _ in try HeldPipe() }
    defer { for pipe in pipes { pipe.release() } }
    for pipe in pipes { _ = try Self.send(pipe, to: daemon, .hangUp) }
    let rest = try OddFile.memfd()
    for _ in 0..<300 { _ = try Self.send(rest.fd.rawValue, to: daemon, .hangUp) }
    let isServed = try (0..<5).contains { _ in try Self.latency(other) < quiet * 10 }
    #expect(isServed)
    // Who comes anew is let in, by the same listeners.
    #expect(try WireClient.heap(daemon, as: .second).refusal() == nil)
    #expect(try daemon.descriptorCount < 100)
    let processes = try daemon.closers
    kill(daemon.identifier, isKilled ? SIGKILL : SIGTERM)
    // While the pipes are held.
    let hasEnded = eventually { !daemon.process.isRunning }
    #expect(hasEnded)
    for pipe in pipes { pipe.release() }
    // Where the first process is none that takes its orphans, their numbers stay.
    let areGone = eventually {
      processes.allSatisfy { process in
        (try? SmallFile.read("/proc/\(process)/stat"))?.contains(") Z") ?? true
      }
    }
    #expect(areGone)
  }

  @Test func `who has too many of them is refused, until they are closed`() throws {
    let daemon = try Daemon(
      arguments: ["--mode", "0666"],
      through: ["/bin/sh", "-c", "ulimit -n 600; exec \"$@\"", "sh"], openFolder: true)
    let pipes = try (0..<5).map { _ in try HeldPipe() }
    for pipe in pipes { _ = try Self.send(pipe, to: daemon, .hangUp) }
    let rest = try OddFile.memfd()
    for _ in 0..<100 { _ = try Self.send(rest.fd.rawValue, to: daemon, .hangUp) }
    let isFull = try eventually { try daemon.unclosed >= 75 }
    #expect(isFull)
    #expect(try WireClient(to: daemon.socket, as: .first).epitaph() == .noResources)
    // That the refused leave something, too, costs no descriptor here.
    for _ in 0..<4_000 { _ = try Self.send(rest.fd.rawValue, to: daemon, .hangUp) }
    #expect(try WireClient.heap(daemon, as: .second).refusal() == nil)
    let isHandedOver = try eventually { try daemon.descriptorCount < 100 }
    #expect(isHandedOver)
    for pipe in pipes { pipe.release() }
    let isClosed = try eventually { try daemon.unclosed == 0 }
    #expect(isClosed)
    #expect(try WireClient.heap(daemon, as: .first).refusal() == nil)
  }

  @Test func `who has such a file in each of many processes keeps no other's open`() throws {
    let daemon = try Daemon(
      arguments: ["--mode", "0666"],
      through: ["/bin/sh", "-c", "ulimit -n 600; exec \"$@\"", "sh"], openFolder: true)
    let rest = try OddFile.memfd()
    var pipes: [HeldPipe] = []
    while pipes.count < 12 {
      let pipe = try HeldPipe()
      _ = try Self.send(pipe, to: daemon, .hangUp)
      // The server may have refused it before it was sent.
      if pipe.isHeld { pipes.append(pipe) }
      for _ in 0..<60 { _ = try Self.send(rest.fd.rawValue, to: daemon, .hangUp) }
    }
    let before = try daemon.unclosed
    let other = try WireClient.observer(daemon, as: .second)
    for _ in 0..<5 { #expect(try other.info(OddFile.memfd()) == nil) }
    let isClosed = try eventually { try daemon.unclosed <= before }
    #expect(isClosed)
    #expect(try daemon.descriptorCount < 200)
    for pipe in pipes { pipe.release() }
    let areAllClosed = try eventually { try daemon.unclosed == 0 }
    #expect(areAllClosed)
  }

  @Test func `processes that close and are killed are replaced`() throws {
    let scene = try Scene(arguments: ["--mode", "0666"])
    for _ in 0..<3 {
      for process in try scene.daemon.closers { kill(process, SIGKILL) }
      let client = try WireClient.observer(scene.daemon)
      #expect(try client.info(OddFile.memfd()) == nil)
      #expect(try client.info(OddFile.memfd()) == nil)
      client.hangUp()
      let isClosed = try eventually { try scene.daemon.unclosed == 0 }
      #expect(isClosed)
    }
    try scene.expectUnharmed()
  }

  private static func latency(_ client: WireClient) throws -> Duration {
    try Latency.median { _ = try client.refusal(size: 0) }
  }

  /// The client that sent it, as long as that is there.
  private static func send(_ pipe: HeldPipe, to daemon: Daemon, _ way: Way) throws -> WireClient? {
    let number = try #require(pipe.file).fd.rawValue
    // So that no close here is the last one.
    return try send(number, to: daemon, way) { isSent in
      if !isSent { pipe.release() }
      pipe.file = nil
    }
  }

  private static func send(
    _ number: CInt, to daemon: Daemon, _ way: Way, then end: (_ isSent: Bool) -> Void = { _ in }
  ) throws -> WireClient? {
    if way == .refused { daemon.pause() }
    // With a server that stands still nobody gets past the queue.
    let client = try WireClient(to: way.isHeap ? daemon.socket : daemon.observer, as: .first)
    daemon.pause()
    var isSent = false
    defer {
      end(isSent)
      daemon.resume()
    }
    switch way {
    case .malformed: try client.send([0], [number])
    case .unknownMethod: try client.send(GoodMessage.getStatus.bytes, [number])
    case .tracker: try client.send(GoodMessage.attach.bytes, [number])
    case .refused: try client.send([0], [number])
    case .hangUp:
      // The first ends it, so that the second is not received. Who is refused has been hung up on.
      try? client.send([0])
      do { try client.send([0], [number]) } catch { return nil }
    }
    isSent = true
    return way == .hangUp ? nil : client
  }
}

extension HeldPipeTests.Way {
  fileprivate var isHeap: Bool { self != .tracker }
}

extension Daemon {
  fileprivate var unclosed: Int {
    get throws {
      try WireClient.observer(self).status().unclosed
    }
  }

  /// Those that it knows by a pidfd, and who made them.
  fileprivate var closers: [pid_t] {
    get throws {
      // "PID (NAME) STATE PARENT …" (proc(5)).
      func parent(of process: pid_t) -> pid_t? {
        let words = (try? SmallFile.read("/proc/\(process)/stat"))?.split(separator: " ") ?? []
        return words.count > 3 && words[1] == "(heapd-closer)" ? pid_t(words[3]) : nil
      }
      let folder = "/proc/\(identifier)/fdinfo"
      let known = try SmallFile.entries(of: folder).compactMap { number -> pid_t? in
        let text = (try? SmallFile.read("\(folder)/\(number)")) ?? ""
        return text.split(separator: "\n").first { $0.hasPrefix("Pid:\t") }
          .flatMap { pid_t($0.dropFirst(5)) }
      }
      let closers = known.filter { parent(of: $0) != nil }
      let makers = Set(closers.compactMap(parent)).filter { parent(of: $0) != nil }
      return closers + makers
    }
  }

  fileprivate var threadsThatCannotBeKilled: Int {
    get throws {
      try SmallFile.entries(of: "/proc/\(identifier)/task").count { thread in
        let status = try? SmallFile.read("/proc/\(identifier)/task/\(thread)/stat")
        return status?.contains(") D") == true
      }
    }
  }
}
