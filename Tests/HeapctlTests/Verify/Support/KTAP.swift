/// A reader of KTAP that takes nothing on trust: versions, plans, numbers and depth must be right
/// (Documentation/dev-tools/ktap.rst).
struct KTAP {
  struct Test: Equatable {
    var name: String
    /// pass, fail or skip
    var outcome: String
    var tests: [Test] = []
  }

  struct Fault: Error { let line: String }

  private(set) var tests: [Test] = []

  init(_ text: String) throws {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()[...]
    tests = try Self.read(&lines, indent: "")
    if let rest = lines.first(where: { !$0.hasPrefix("#") }) { throw Fault(line: String(rest)) }
  }

  private static func read(_ lines: inout ArraySlice<Substring>, indent: String) throws -> [Test] {
    guard lines.popFirst() == "\(indent)KTAP version 1" else { throw Fault(line: "no version") }
    var plan: Int?
    var tests: [Test] = []
    var inner: [Test] = []
    while plan == nil || tests.count < plan! {
      guard let line = lines.first else { throw Fault(line: "the end comes early") }
      if line == "\(indent)  KTAP version 1" {
        inner = try read(&lines, indent: indent + "  ")
        continue
      }
      lines.removeFirst()
      guard line.hasPrefix(indent) else { throw Fault(line: String(line)) }
      let words = line.dropFirst(indent.count)
      if words.hasPrefix("#") { continue }
      if words.hasPrefix("1..") {
        guard plan == nil, tests.isEmpty else { throw Fault(line: String(line)) }
        plan = Int(words.dropFirst(3))
        continue
      }
      let isOK = words.hasPrefix("ok ")
      guard isOK || words.hasPrefix("not ok ") else { throw Fault(line: String(line)) }
      let rest = words.dropFirst(isOK ? 3 : 7)
      let number = rest.prefix { $0.isNumber }
      guard Int(number) == tests.count + 1 else { throw Fault(line: String(line)) }
      // By scalar: the format knows no characters of several.
      let name = rest.dropFirst(number.count + 1).unicodeScalars.prefix { $0 != "#" }
      let hasDirective = rest.unicodeScalars.contains("#")
      let isSkip = hasDirective && rest.contains("# SKIP")
      guard hasDirective == isSkip else { throw Fault(line: String(line)) }
      tests.append(
        Test(
          name: String(Substring(name)).trimmingSpace,
          outcome: isSkip ? "skip" : isOK ? "pass" : "fail",
          tests: inner))
      inner = []
    }
    return tests
  }
}

extension String {
  fileprivate var trimmingSpace: String {
    var text = self
    while text.hasSuffix(" ") { text.removeLast() }
    return text
  }
}
