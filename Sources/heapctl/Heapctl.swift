internal import ArgumentParser
internal import BuildFacts
internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

@main
struct Heapctl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "heapctl",
    abstract: "Finds, exercises and checks this machine's dma-buf heaps.",
    discussion: """
      Exit status of every verb:
      \(ExitStatus.table)

      What a signal cuts short ends by that signal; alloc and load --hold, show and watch go on until one, and end with 0.
      """,
    version: BuildFacts.text(of: "heapctl"),
    subcommands: [
      Demo.self,
      List.self,
      Alloc.self,
      Load.self,
      Doctor.self,
      Verify.self,
      HoldersCommand.self,
      Watch.self,
      Bench.self,
      Stress.self,
      Info.self,
      Devices.self,
      Show.self,
      Camera.self,
      RunProgram.self,
      Completion.self,
      DemoPartnerProcess.self,
    ])

  static func main() {
    // A program that takes this one's place finds descriptors and signals as they came.
    if (try? ProgramArguments.read())?.dropFirst().first != RunProgram._commandName {
      StandardDescriptors.fillGaps()
      StandardDescriptors.ignoreSizeLimit()
      SignalPipe.unblockAll()
    }
    let thisThread = ThreadExecutor()
    Task(executorPreference: thisThread) {
      let status = await run()
      let isIncomplete = status == .success && StandardStream.isIncomplete
      CLibrary.exit((isIncomplete ? ExitCode(.failure) : status).rawValue)
    }
    thisThread.run()
  }

  private static func run() async -> ExitCode {
    do {
      try checkProc()
      let words = Array(try ProgramArguments.read().dropFirst())
      try Verb.check(words)
      var command = try parseAsRoot(words)
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
      return .success
    } catch let error as HeapError {
      complain("\(error)")
      return ExitCode(ExitStatus(error.code))
    } catch {
      // Help and versions too come as errors.
      let (status, text) = (exitCode(for: error), fullMessage(for: error))
      if !text.isEmpty { if status == .success { show(text) } else { tell(text) } }
      return status
    }
  }

  /// Descriptors are reopened and looked at there. And who has none left for a file sees a machine that has nothing.
  private static func checkProc() throws(HeapError) {
    let path = "/proc/self/stat"
    guard let error = MachineFiles().openingError(path) else { return }
    throw HeapError(
      error, "look at this process", at: path,
      fix: error.canBeOfNode ? "mount -t proc proc /proc" : nil)
  }
}

/// The first word of a command line: one that the parser does not know it takes for an argument too many, and after `help` for
/// none.
private enum Verb {
  static func check(_ words: [String]) throws {
    guard var word = words.first, !word.hasPrefix("-") else { return }
    if word == "help" {
      guard words.count > 1, !words[1].hasPrefix("-") else { return }
      word = words[1]
      if words.count > 2, !words[2].hasPrefix("-") {
        throw ValidationError("help is of one verb: '\(words[2])' is one argument too many")
      }
    }
    let verbs = Heapctl.configuration.subcommands
    if word == "help" || verbs.contains(where: { $0._commandName == word }) { return }
    let near = verbs.filter { $0.configuration.shouldDisplay && !word.isEmpty }
      .map { $0._commandName }
      .map { (name: $0, distance: $0.hasPrefix(word) ? 0 : distance(word, $0)) }
      .min { $0.distance < $1.distance }
    let guess = near.flatMap { $0.distance <= 2 ? "; did you mean '\($0.name)'?" : nil } ?? ""
    throw ValidationError("there is no verb '\(word)'\(guess)")
  }

  /// How many letters have to be put in, taken out or replaced.
  private static func distance(_ one: String, _ other: String) -> Int {
    let other = Array(other)
    var row = Array(0...other.count)
    for (index, letter) in one.enumerated() {
      var diagonal = row[0]
      row[0] = index + 1
      for place in other.indices {
        let kept = diagonal + (letter == other[place] ? 0 : 1)
        diagonal = row[place + 1]
        row[place + 1] = min(kept, row[place] + 1, diagonal + 1)
      }
    }
    return row[other.count]
  }
}

extension ExitCode {
  /// To be thrown by a verb that has said what went wrong.
  init(_ status: ExitStatus) { self.init(status.rawValue) }
}

struct Completion: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints a completion script for a shell.",
    discussion: """
      For one user: heapctl completion bash > ~/.local/share/bash-completion/completions/heapctl; \
      heapctl completion fish > ~/.config/fish/completions/heapctl.fish; in zsh into a file _heapctl \
      of a folder in $fpath.
      """)

  enum Shell: String, ExpressibleByArgument, CaseIterable {
    case bash, zsh, fish
  }

  @Argument(help: "bash, zsh or fish.")
  var shell: Shell

  @OptionGroup var color: ColorChoice

  func run() {
    let script: CompletionShell =
      switch shell {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    show(Heapctl.completionScript(for: script))
  }
}
