internal import CLibrary
internal import LinuxHeaps

/// What the machine's udev rules do to heap nodes.
///
/// Only what decides over a node's owner, group and mode is followed: matches on SUBSYSTEM, KERNEL and
/// ACTION, and GOTO. A rule with any other match may hold or not, and is left out.
struct UdevRules: Sendable {
  /// udev(7): a file of one directory hides the file of the same name in those after it.
  static let directories = [
    "/etc/udev/rules.d", "/run/udev/rules.d", "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
  ]

  struct Outcome: Sendable {
    var owner: String?
    var group: String?
    var mode: UInt32?
    /// The files that had a part in it.
    var files: [String] = []
  }

  /// Whether the daemon runs that applies them.
  let isApplied: Bool
  private let files: [(path: String, rules: [UdevRule])]
  /// Files that speak of heaps, and the files of other content that hide them.
  let hidden: [(path: String, by: String)]

  /// - Parameter machine: Nil where no udevd has to do with the nodes.
  init(_ machine: MachineFiles?) {
    guard let machine else {
      (isApplied, files, hidden) = (false, [], [])
      return
    }
    var names: [String: String] = [:]
    var hidden: [(path: String, by: String)] = []
    for directory in Self.directories {
      for name in machine.entries(directory) where name.hasSuffix(".rules") {
        let path = "\(directory)/\(name)"
        guard let first = names[name].map({ "\($0)/\(name)" }) else {
          names[name] = directory
          continue
        }
        // /lib may be /usr/lib.
        if let text = machine.text(path, limit: 1 << 20), text.holds("dma_heap"),
          text != machine.text(first, limit: 1 << 20), !hidden.contains(where: { $0.by == first })
        {
          hidden.append((path, first))
        }
      }
    }
    self.hidden = hidden
    files = names.sorted { $0.key < $1.key }.compactMap { name, directory in
      let path = "\(directory)/\(name)"
      guard let text = machine.text(path, limit: 1 << 20), text.holds("dma_heap") else {
        return nil
      }
      return (path, UdevRule.all(in: text))
    }
    // udevd's socket first: a /proc that is mounted with hidepid shows no process of another user.
    isApplied =
      machine.exists("/run/udev/control")
      || machine.entries("/proc").contains { process in
        guard process.first?.isNumber == true, let name = machine.line("/proc/\(process)/comm")
        else { return false }
        // Not BusyBox's mdev, which reads /etc/mdev.conf and no rules.
        return name == "systemd-udevd" || name == "udevd"
      }
  }

  /// The files that speak of heaps.
  var paths: [String] { files.map(\.path) }

  /// What they make of the node of this heap, nil where they leave it as the kernel made it.
  func outcome(for heap: String) -> Outcome? {
    var outcome = Outcome()
    var final: Set<String> = []
    for file in files {
      var label: String?
      var took = false
      for rule in file.rules {
        if let wanted = label {
          if rule.label == wanted { label = nil }
          continue
        }
        guard rule.matches(heap: heap) else { continue }
        for assignment in rule.assignments where !final.contains(assignment.key) {
          if assignment.comparison == ":=" { final.insert(assignment.key) }
          switch assignment.key {
          case "OWNER": outcome.owner = assignment.value
          case "GROUP": outcome.group = assignment.value
          case "MODE": outcome.mode = UInt32(assignment.value, radix: 8)
          case "GOTO":
            label = assignment.value
            continue
          default: continue
          }
          took = true
        }
      }
      if took { outcome.files.append(file.path) }
    }
    guard !outcome.files.isEmpty else { return nil }
    // systemd's udevd: a node with a group and no mode gets 0660.
    if outcome.mode == nil, outcome.group != nil { outcome.mode = 0o660 }
    return outcome
  }
}

/// A line of a rules file: matches, and what is done where all hold.
struct UdevRule: Sendable {
  struct Token: Sendable {
    let key: String
    let comparison: String
    let value: String
  }

  private let matches: [Token]
  let assignments: [Token]

  var label: String? { assignments.first { $0.key == "LABEL" }?.value }

  static func all(in text: String) -> [UdevRule] {
    var rules: [UdevRule] = []
    var line = ""
    for part in text.lines {
      // CR LF is a line's end, too (read_line(), src/basic/fileio.c of systemd).
      let part = part.last == "\r" ? part.dropLast() : part
      if line.isEmpty, part.drop(while: \.isWhitespace).first == "#" { continue }
      if part.last == "\\" {
        line += part.dropLast()
        continue
      }
      line += part
      let tokens = self.tokens(in: line)
      if !tokens.isEmpty { rules.append(UdevRule(tokens)) }
      line = ""
    }
    return rules
  }

  private init(_ tokens: [Token]) {
    // PROGRAM= runs it at once, and matches where it succeeds (udev(7)).
    func isMatch(_ token: Token) -> Bool {
      token.comparison == "==" || token.comparison == "!=" || token.key == "PROGRAM"
    }
    matches = tokens.filter(isMatch)
    assignments = tokens.filter { !isMatch($0) }
  }

  /// `KEY`, `==`, and what stands in quotes, until there is no more.
  private static func tokens(in line: String) -> [Token] {
    var tokens: [Token] = []
    var rest = line[...]
    while let quote = rest.firstIndex(of: "\"") {
      let head = rest[..<quote].filter { !$0.isWhitespace && $0 != "," }
      let after = rest.index(after: quote)
      guard
        let end = rest[after...].indices.first(where: {
          rest[$0] == "\"" && rest[rest.index(before: $0)] != "\\"
        })
      else { break }
      let key = head.prefix { !"=!+-:".contains($0) }
      tokens.append(
        Token(
          key: String(key), comparison: String(head.dropFirst(key.count)),
          value: String(rest[after..<end])))
      rest = rest[rest.index(after: end)...]
    }
    return tokens
  }

  func matches(heap: String) -> Bool {
    matches.allSatisfy { match in
      let subject: String
      switch match.key {
      case "SUBSYSTEM": subject = "dma_heap"
      case "KERNEL": subject = heap
      case "ACTION": subject = "add"
      default: return false
      }
      let holds = match.value.split(separator: "|").contains { pattern in
        unsafe fnmatch(String(pattern), subject, 0) == 0
      }
      return holds == (match.comparison == "==")
    }
  }
}
