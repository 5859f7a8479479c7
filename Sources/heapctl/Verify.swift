internal import ArgumentParser
internal import HeapTestKit
internal import LinuxHeaps
internal import SystemPackage

struct Verify: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Runs the checks that a heap must pass, on the heaps named or on all.")

  @OptionGroup var choice: HeapChoice

  @OptionGroup var service: ServiceChoice

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  struct Row: Encodable {
    let heap: String
    let check: String
    let claim: String
    /// pass, fail or skip
    let outcome: String
    /// What did not hold, or what the machine lacks.
    let reason: String?
  }

  func run() async throws {
    var rows: [Row] = []
    for heap in try await reporting({ try await heaps(&rows) }) {
      for check in HeapCheck.all(for: heap) {
        let row = Row(heap, check, await check.run(on: heap))
        rows.append(row)
        if json { tell(row.line(on: .error)) } else { show(row.line(on: .output)) }
      }
    }
    if json { try JSONReport(body: rows, name: "results").show() }
    func count(_ outcome: String) -> Int { rows.count { $0.outcome == outcome } }
    let summary = "\(count("pass")) passed, \(count("fail")) failed, \(count("skip")) skipped"
    if json { tell(summary) } else { show(summary) }
    if count("fail") > 0 { throw Ending.refused }
  }

  func validate() throws { try service.validate(against: choice) }

  private func heaps(_ rows: inout [Row]) async throws -> [HeapUnderTest] {
    if let socket = service.socket { return try await served(at: socket) }
    let entries = HeapCatalog().heaps()
    guard choice.names.isEmpty else {
      return try choice.names.map { name in
        if let heap = HeapChoice.builtIn[name] {
          // Absent or closed to this user: its own words say which, before any check fails of it.
          if name == UDMABufHeap.name && !UDMABufHeap.isUsable {
            _ = try UDMABufHeap().allocateVmo(
              size: 1, settings: SingleBufferSettings(), bufferCollectionID: 0, bufferIndex: 0)
          }
          return heap
        }
        guard let entry = entries.first(where: { $0.name == name }) else {
          tell(
            "heapctl: verify \(name): no such heap. To fix it: use one of: "
              + (entries.map(\.name) + ["udmabuf", "memfd", "opaque"]).joined(separator: " "))
          throw Ending.noHeap
        }
        guard let node = entry.node, node.isUsable else {
          tell(
            "heapctl: verify \(entry.path.string): permission denied: the node is "
              + (entry.node.map { "\($0)" } ?? "gone"))
          throw Ending.noPermission
        }
        return .dmaHeap(name, role: entry.role)
      }
    }
    for entry in entries where entry.node?.isUsable != true || entry.role == .protected {
      let reason =
        entry.role == .protected
        ? "the processor cannot look into protected memory"
        : "this user may not open \(entry.path.string)"
      let row = Row(
        heap: entry.name, check: "all", claim: "", outcome: "skip", reason: reason)
      rows.append(row)
      if json { tell(row.line(on: .error)) } else { show(row.line(on: .output)) }
    }
    return HeapUnderTest.all()
  }
}

extension Verify {
  /// Each kind of memory that the service has.
  private func served(at socket: String) async throws -> [HeapUnderTest] {
    let plain = try await HeapUnderTest.service(SingleBufferSettings(), socket: socket)
    guard plain.kind == .dmaHeap else { return [plain] }
    do throws(HeapError) {
      return [plain, try await .service(.contiguous, socket: socket)]
    } catch  where error.code == .notSupported {
      return [plain]
    }
  }
}

extension Verify.Row {
  init(_ heap: HeapUnderTest, _ check: HeapCheck, _ outcome: HeapCheck.Outcome) {
    let (word, reason): (String, String?) =
      switch outcome {
      case .passed: ("pass", nil)
      case .failed(let reason): ("fail", reason)
      case .skipped(let reason): ("skip", reason)
      }
    self.init(
      heap: heap.name, check: check.name, claim: check.claim, outcome: word, reason: reason)
  }

  func line(on stream: StandardStream) -> String {
    let tint: Tint =
      switch outcome {
      case "pass": .good
      case "fail": .bad
      default: .doubtful
      }
    return "\(outcome.painted(tint, on: stream))  \(heap)  \(check): \(reason ?? claim)"
  }
}
