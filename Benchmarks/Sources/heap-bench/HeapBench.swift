internal import Figures
internal import Foundation
internal import Glibc
internal import Processes

@main
enum HeapBench {
  static func main() { exit(run()) }

  /// Returns before the process ends, so that what was started is stopped and removed.
  private static func run() -> CInt {
    let options: Options
    do throws(Failure) {
      options = try Options(Array(CommandLine.arguments.dropFirst()))
    } catch {
      say("heap-bench: \(error)\n\(Options.usage)")
      return EX_USAGE
    }
    do throws(Failure) {
      let report = try measure(options)
      print(options.isJSON ? report.json : report.table, terminator: "")
      return report.isMet ? 0 : 1
    } catch {
      say("heap-bench: \(error)\n")
      return EX_SOFTWARE
    }
  }

  private static func measure(_ options: Options) throws(Failure) -> Report {
    // For the servers and clients, which inherit it.
    Processes_raise_descriptor_limit()
    var report = Report()
    for scenario in options.scenarios {
      say("\(scenario.rawValue)  \(scenario.title) ...\n")
      let scratch = try Scratch()
      do throws(Failure) {
        report.add(
          try scenario.measure(options.programs, in: scratch), scenario.rawValue, scenario.title)
      } catch {
        throw Failure("scenario \(scenario.rawValue): \(error)\(scratch.logs())")
      }
    }
    return report
  }

  private static func say(_ text: String) {
    _ = unsafe write(STDERR_FILENO, text, text.utf8.count)
  }
}

/// Where the programs are.
struct Programs {
  let heapd: String
  let baseline: String
  let load: String
  let remote: String
  let kernelBench: String
  /// C's, which is built beside heapd.
  let library: String
}

/// The command line.
private struct Options {
  static let usage = """
    usage: heap-bench --heapd PATH [--baseline PATH] [--load PATH] [--remote PATH]
                      [--kernel-bench PATH] [--only a,b,...] [--json]

    Measures heapd against its targets. The other programs are those beside this one unless
    named. Exit status: 0 all targets met; 1 one missed; 64 wrong usage; 70 not measured.

    """

  let programs: Programs
  let scenarios: [Scenario]
  let isJSON: Bool

  /// - Parameter arguments: Without the program's name.
  init(_ arguments: [String]) throws(Failure) {
    var values: [String: String] = [:]
    var isJSON = false
    var rest = arguments[...]
    while let name = rest.popFirst() {
      switch name {
      case "--json": isJSON = true
      case "--heapd", "--baseline", "--load", "--remote", "--kernel-bench", "--only":
        guard let value = rest.popFirst() else { throw Failure("\(name) requires a value") }
        values[name] = value
      default: throw Failure("unknown option \(name)")
      }
    }
    guard let heapd = values["--heapd"] else { throw Failure("--heapd is missing") }
    let directory = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
      .deletingLastPathComponent()
    func program(_ name: String) -> String {
      values["--\(name)"] ?? directory.appending(path: name).path
    }
    programs = Programs(
      heapd: heapd, baseline: program("baseline"), load: program("load"),
      remote: program("remote"), kernelBench: program("kernel-bench"),
      library: URL(filePath: heapd).deletingLastPathComponent().appending(
        path: "liblinuxheaps.so.0"
      ).path)
    self.isJSON = isJSON
    guard let only = values["--only"] else {
      scenarios = Scenario.allCases
      return
    }
    var scenarios: [Scenario] = []
    for letter in only.split(separator: ",") {
      guard let scenario = Scenario(rawValue: String(letter)) else {
        throw Failure("there is no scenario \(letter)")
      }
      scenarios.append(scenario)
    }
    self.scenarios = scenarios
  }
}
