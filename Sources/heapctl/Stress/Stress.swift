internal import ArgumentParser
internal import HeapReport
internal import HeapTestKit
internal import LinuxHeaps

struct Stress: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Works on heaps at random, beside a model that knows what must be alive.",
    discussion: """
      Allocates, slices, maps, writes, reads, passes to other processes, imports into vgem and vkms, \
      kills those processes, closes and deletes. What is done follows from the seed, the heap and the \
      devices: a run that found a fault says how to repeat it.
      """)

  @OptionGroup var choice: HeapChoice

  @Option(
    help: ArgumentHelp("How long on each heap; 10 where no --steps are given.", valueName: "number")
  )
  var seconds: UInt32?

  @Option(help: ArgumentHelp("How many steps on each heap.", valueName: "number"))
  var steps: UInt32?

  @Option(help: ArgumentHelp("Repeat the run that had this seed.", valueName: "number"))
  var seed: UInt32?

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  func validate() throws {
    if seconds != nil && steps != nil {
      throw ValidationError("--seconds and --steps exclude each other")
    }
    if seconds == 0 || steps == 0 { throw ValidationError("a run takes at least 1 second or step") }
  }

  func run() async throws { try await reporting { try await work() } }

  private func work() async throws {
    let signal = try EndSignal()
    let seed = self.seed ?? .random(in: 0 ... .max)
    let end: StressRun.End =
      steps.map { .steps(Int($0)) } ?? .time(.seconds(Int(seconds ?? 10)))
    if !json { show("seed \(seed)") }
    let progress = Progress(besideLines: !json)
    var rows: [StressRow] = []
    for chosen in choice.heaps() {
      let run = try await StressRun(
        heap: chosen.heap, name: chosen.name, settings: chosen.settings, seed: UInt64(seed),
        limit: Self.limit(capacity: chosen.capacity))
      let report = try await run.run(until: end, isEnded: { signal.hasCome }) { step in
        if step % 64 == 0 { progress.show("\(chosen.name.visible): step \(step)") }
      }
      progress.clear()
      let row = StressRow(chosen.name, report)
      rows.append(row)
      if !json { for line in row.lines { show(line) } }
      for line in row.complaints { tell(line) }
      if report.wasEnded { break }
    }
    if json { try JSONReport(body: StressRows(seed: seed, heaps: rows), name: "stress").show() }
    if rows.contains(where: { !$0.hasPassed }) { throw Ending.refused }
  }

  /// 64 MiB, or less on a small machine or of a small region: always the same for the same machine, because
  /// what a run does follows from it.
  private static func limit(capacity: UInt64?) -> UInt64 {
    let memory = (try? MachineMemory.read())?.total ?? .max
    return min(64 << 20, memory / 16, (capacity ?? .max) / 4)
  }
}
