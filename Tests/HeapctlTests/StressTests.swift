import Foundation
import HeapSurvey
import LinuxHeaps
import LinuxHeapsDRM
import TestSupport
import Testing

@Suite struct StressTests {
  private static let listIsReadable = (try? BufferList.read()) != nil

  @Test func `text tells what was done, and that nothing leaked`() throws {
    let run = try Run.heapctl("stress", "--heap", "memfd", "--seed", "7", "--steps", "100")
    #expect(run.error == "")
    #expect(run.status == 0)
    #expect(
      run.output == """
        seed 7
        memfd: 100 steps, digest 9dedfc033bcf2403
          allocate 14, slice 2, duplicate 2, adopt 1, map 9, write 7, read 19, unmap 5
          pass 7, send 6, receive 2, start 7, kill 4, end 1, close 9, delete 5
          6.4 MiB allocated; live at most: 9 buffers, 5.2 MiB
          nothing leaked

        """)
  }

  @Test(arguments: TestHeaps.names)
  func `JSON of one seed is the same each time, and nothing leaked`(_ heap: String) throws {
    let arguments = ["stress", "--heap", heap, "--seed", "3", "--steps", "150", "--json"]
    let run = try Run.heapctl(arguments)
    #expect(run.error == "")
    #expect(run.status == 0)
    #expect(try Run.heapctl(arguments) == run)

    let stress = try #require(try run.json["stress"] as? [String: Any])
    #expect(stress["seed"] as? Int == 3)
    let rows = try #require(stress["heaps"] as? [[String: Any]])
    #expect(rows.count == 1)
    let row = try #require(rows.first)
    #expect(row["heap"] as? String == heap)
    #expect(row["steps"] as? Int == 150)
    #expect(row["leaks"] as? [String] == [])
    #expect(row["failure"] == nil)
    #expect(row["endedEarly"] as? Bool == false)
    #expect(row["refusedAllocations"] as? Int == 0)
    #expect(
      row["repeatedBy"] as? String == "heapctl stress --heap \(heap) --seed 3 --steps 150")
    #expect(row["lookedAtKernelsList"] as? Bool == Self.listIsReadable)
    let isDMABuf = TestHeaps.dmaBufs.contains(heap)
    #expect((try #require(row["referenceCountsCompared"] as? Int) > 100) == isDMABuf)
    let devices = isDMABuf ? ["vgem", "vkms"].filter { DRMDevice(drivers: [$0]) != nil } : []
    #expect(row["devices"] as? [String] == devices)
    let actions = try #require(row["actions"] as? [String: Int])
    #expect(actions.values.reduce(0, +) == 150)
    #expect((actions["import"]! > 0) == !devices.isEmpty)
  }

  @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
  func `a signal ends it early, and all is given back`(_ signal: CInt) throws {
    let stress = try RunningStress(TestHeaps.names[0])
    stress.waitForPeers()
    // To the whole group, as a terminal sends it.
    stress.send(signal, toGroup: true)
    let end = stress.end()
    #expect(end.status == signal && stress.wasKilled)
    #expect(end.error == "")
    #expect(end.output.contains(", ended early, digest "))
    #expect(end.output.hasSuffix("  nothing leaked\n"))
  }

  // One of the kernel's own heaps, where there is one, and the one that all have.
  @Test(arguments: Set([TestHeaps.names[0], "memfd"]).sorted())
  func `killed at any time, it leaves neither processes nor buffers`(_ heap: String) throws {
    for moment in 0..<2 {
      let stress = try RunningStress(heap)
      let others = stress.waitForPeers()
      usleep(useconds_t(moment * 50_000))
      stress.send(SIGKILL)
      _ = stress.end()
      try eventually("its other processes end: \(others)") {
        !others.contains(where: ProcessState.isRunning)
      }
      try eventually("its buffers are gone") { stress.buffers().isEmpty }
    }
  }

  @Test(arguments: [
    ["--seconds", "0"], ["--steps", "0"], ["--seconds", "1", "--steps", "1"], ["--seed", "x"],
    ["--heap", "memfd", "--socket", "/nonesuch"],
  ])
  func `what cannot be run is wrong usage`(_ arguments: [String]) throws {
    #expect(try Run.heapctl(["stress"] + arguments).status == 64)
  }

  @Test func `a service's heap is one that can be run on`() throws {
    let daemon = try Daemon()
    let run = try Run.heapctl(
      "stress", "--socket", daemon.socket, "--seed", "3", "--steps", "60", "--json")
    #expect(run.status == 0, "\(run.error)")
    let stress = try #require(try run.json["stress"] as? [String: Any])
    let heaps = try #require(stress["heaps"] as? [[String: Any]])
    #expect(heaps.map { $0["heap"] as? String } == ["memfd, served at \(daemon.socket)"])
    #expect(
      heaps[0]["repeatedBy"] as? String
        == "heapctl stress --socket \(daemon.socket) --seed 3 --steps 60")
    #expect(try WireClient.observer(daemon).status().buffers.isEmpty)
    let unserved = try Run.heapctl("stress", "--socket", "/nonesuch", "--steps", "1")
    #expect(unserved.status == 69)
    #expect(unserved.error.contains("/nonesuch"))
  }

  @Test func `a heap that is not there is named`() throws {
    let run = try Run.heapctl("stress", "--heap", "nonesuch", "--steps", "1")
    #expect(run.status == 69)
    #expect(run.error.contains("(/dev/dma_heap/nonesuch): no such heap"))
  }

  private func eventually(_ claim: String, _ holds: () throws -> Bool) throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
      if try holds() { return }
      usleep(20_000)
    }
    Issue.record("does not come true: \(claim)")
  }
}

/// A `heapctl stress` that goes on until it is told to end.
private final class RunningStress {
  private let process = Process()
  private let output = Pipe()
  private let error = Pipe()

  init(_ heap: String) throws {
    process.executableURL = URL(fileURLWithPath: try Program.path("heapctl"))
    process.arguments = ["stress", "--heap", heap, "--seed", "5", "--seconds", "600"]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = output
    process.standardError = error
    try process.run()
  }

  /// The other processes that it has, once there is one that holds buffers.
  @discardableResult
  func waitForPeers() -> [pid_t] {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
      let nurseries = Self.children(of: process.processIdentifier)
      let peers = nurseries.flatMap(Self.children)
      if peers.contains(where: Self.holdsBuffer) { return nurseries + peers }
      usleep(5_000)
    }
    Issue.record("no peer holds a buffer")
    return []
  }

  func send(_ signal: CInt, toGroup: Bool = false) {
    let id = process.processIdentifier
    #expect(kill(toGroup ? -id : id, signal) == 0)
  }

  func end() -> Run {
    let output = self.output.fileHandleForReading.readDataToEndOfFile()
    let error = self.error.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Run(
      output: String(decoding: output, as: UTF8.self),
      error: String(decoding: error, as: UTF8.self), status: process.terminationStatus)
  }

  /// By a signal, which is the status then.
  var wasKilled: Bool { process.terminationReason == .uncaughtSignal }

  /// What the machine has of its buffers, as far as /proc and debugfs tell.
  func buffers() -> [BufferKey] {
    BufferSurvey().buffers.compactMap(\.label)
      .filter { $0.bufferCollectionID >> 32 == UInt64(process.processIdentifier) }
  }

  private static func holdsBuffer(_ process: pid_t) -> Bool {
    let folder = "/proc/\(process)/fd"
    let files = FileManager.default
    return ((try? files.contentsOfDirectory(atPath: folder)) ?? []).contains { number in
      let link = try? files.destinationOfSymbolicLink(atPath: "\(folder)/\(number)")
      return link?.contains(":lh:") == true
    }
  }

  private static func children(of process: pid_t) -> [pid_t] {
    let numbers = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return numbers.compactMap(pid_t.init).filter { ProcessState($0)?.parent == process }
  }

  deinit {
    process.kill()
  }
}
