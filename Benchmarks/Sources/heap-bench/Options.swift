/// The command line.
struct Options {
  static let usage = """
    usage: heap-bench --heapd PATH [--baseline PATH] [--load PATH] [--only a,b,...] [--json]

    Measures heapd against its targets. The other two programs are those beside this one unless
    named. Exit status: 0 all targets met; 1 one missed; 64 wrong usage; 70 not measured.

    """

  let programs: Programs
  let scenarios: [Scenario]
  let isJSON: Bool

  /// - Parameters:
  ///   - arguments: Without the program's name.
  ///   - directory: Where this program is.
  init(_ arguments: [String], beside directory: String) throws(Failure) {
    var values: [String: String] = [:]
    var isJSON = false
    var rest = arguments[...]
    while let name = rest.popFirst() {
      switch name {
      case "--json": isJSON = true
      case "--heapd", "--baseline", "--load", "--only":
        guard let value = rest.popFirst() else { throw Failure("\(name) needs a value") }
        values[name] = value
      default: throw Failure("unknown option \(name)")
      }
    }
    guard let heapd = values["--heapd"] else { throw Failure("--heapd is missing") }
    programs = Programs(
      heapd: heapd, baseline: values["--baseline"] ?? "\(directory)/baseline",
      load: values["--load"] ?? "\(directory)/load")
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
