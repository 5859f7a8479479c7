internal import Figures
internal import Glibc
internal import LinuxHeaps
internal import Peers

@main
enum KernelBench {
  static func main() {
    let arguments = CommandLine.arguments.dropFirst()
    let words = Array(arguments.dropFirst())
    do {
      // For whoever counts what they do: callgrind, strace, scenario g.
      switch arguments.first {
      case "loop" where (1...3).contains(words.count):
        let numbers = words.dropFirst().compactMap { UInt64($0) }
        return try loop(
          words[0], numbers.first ?? 1000, size: numbers.dropFirst().first ?? pageSize)
      case "serve" where words.count == 2: return try serve(words[1], at: words[0])
      default: break
      }
    } catch {
      return fail("\(error)")
    }
    // Before any thread starts.
    let holder = Peers_start_holder()
    guard holder >= 0 else { return fail("no holder: \(reason(-holder))") }
    // Peers and library take turns on one processor, so that a turn's time is its work.
    Peers_pin()
    var limit = rlimit(rlim_cur: 1 << 20, rlim_max: 1 << 20)
    unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    let only = arguments.first?.split(separator: ",").map(String.init)
    var report = Report()
    do {
      for scenario in Scenario.allCases where only?.contains(scenario.rawValue) != false {
        say("\(scenario.rawValue)  \(scenario.title) ...\n")
        report.add(try scenario.measure(holder), scenario.rawValue, scenario.title)
      }
    } catch {
      return fail("\(error)")
    }
    print(report.table, terminator: "")
    exit(report.isMet ? 0 : 1)
  }

  /// `loop HEAP [ROUNDS [BYTES]]`
  private static func loop(_ name: String, _ rounds: UInt64, size: UInt64) throws {
    let heap = heap(name)
    for index in 0..<rounds {
      _ = try heap.allocateVmo(
        size: size, settings: settings, bufferCollectionID: 1, bufferIndex: index,
        cleanup: [])
    }
  }

  /// `serve PATH HEAP`: "ready" once it does, and until the end of its input.
  private static func serve(_ name: String, at path: String) throws {
    let server = try Server(of: heap(name), name, at: path)
    print("ready")
    fflush(nil)
    while readLine() != nil {}
    _ = consume server
  }

  private static func heap(_ name: String) -> any LocalHeap {
    name == "memfd" ? MemfdHeap() : DMABufHeap(heaps: [name])
  }

  private static func fail(_ cause: String) {
    say("kernel-bench: \(cause)\n")
    exit(EX_SOFTWARE)
  }

  private static func say(_ text: String) {
    _ = unsafe write(STDERR_FILENO, text, text.utf8.count)
  }
}

/// What `errno` says, in the C library's words.
func reason(_ number: CInt) -> String { unsafe String(cString: strerror(number)) }

struct Failure: Error, CustomStringConvertible {
  let description: String

  /// - Returns: Nanoseconds, where a peer did not answer with an error.
  static func check(_ answer: Int64, _ what: String) throws -> Double {
    if answer < 0 { throw Failure(description: "\(what): \(reason(CInt(-answer)))") }
    return Double(answer)
  }
}
