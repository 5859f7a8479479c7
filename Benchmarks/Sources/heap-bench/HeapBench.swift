internal import Glibc
internal import Wire

@main
enum HeapBench {
  static func main() { exit(run()) }

  /// Returns before the process ends, so that what was started is stopped and removed.
  private static func run() -> CInt {
    let options: Options
    do throws(Failure) {
      options = try Options(Array(CommandLine.arguments.dropFirst()), beside: ownDirectory())
    } catch {
      say("heap-bench: \(error)\n\(Options.usage)")
      return EX_USAGE
    }
    do throws(Failure) {
      let findings = try measure(options)
      print(options.isJSON ? Report.json(findings) : Report.table(findings), terminator: "")
      return findings.contains { $0.figures.contains { $0.isMet == false } } ? 1 : 0
    } catch {
      say("heap-bench: \(error)\n")
      return EX_SOFTWARE
    }
  }

  private static func measure(_ options: Options) throws(Failure) -> [Findings] {
    // For the servers and clients, which inherit it.
    Wire_raise_descriptor_limit()
    var findings: [Findings] = []
    for scenario in options.scenarios {
      say("\(scenario.rawValue)  \(scenario.title) ...\n")
      let scratch = try Scratch()
      do throws(Failure) {
        findings.append(try scenario.measure(options.programs, in: scratch))
      } catch {
        throw Failure("scenario \(scenario.rawValue): \(error)\(scratch.logs())")
      }
    }
    return findings
  }

  private static func ownDirectory() -> String {
    let path = unsafe realpath("/proc/self/exe", nil)
    defer { unsafe free(path) }
    guard let path = unsafe path else { return "." }
    return unsafe String(String(cString: path).reversed().drop { $0 != "/" }.dropFirst().reversed())
  }

  private static func say(_ text: String) {
    _ = unsafe write(STDERR_FILENO, text, text.utf8.count)
  }
}
