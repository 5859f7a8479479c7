internal import ArgumentParser
internal import BuildFacts
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

@main
struct Heapctl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "heapctl",
    abstract: "Finds, exercises and checks this machine's dma-buf heaps.",
    discussion: """
      Exit status: 0 success; 1 a check failed or a request was refused; 64 usage error; \
      69 no heap can serve the request; 77 permission denied.
      """,
    version: BuildFacts.text(of: "heapctl"),
    subcommands: [
      Demo.self,
      List.self,
      Alloc.self,
      Doctor.self,
      Verify.self,
      HoldersCommand.self,
      Watch.self,
      Bench.self,
      Stress.self,
      Info.self,
      Show.self,
      Camera.self,
      Completion.self,
      DemoPartnerProcess.self,
    ])

  static func main() async {
    do {
      try checkProc()
      await main(Array(try ProgramArguments.read().dropFirst()))
    } catch {
      complain("\(error)")
      exit(withError: Ending.noHeap)
    }
  }

  /// Where it is missing, libdispatch, which runs whatever awaits, ends the process without a word as soon as it counts
  /// threads (src/event/workqueue.c, Swift 6.3).
  private static func checkProc() throws(HeapError) {
    let path = "/proc/self/stat"
    do throws(Errno) { _ = try SmallFile.read(path) } catch {
      throw HeapError(error, "count this process's threads", at: path, fix: "mount /proc")
    }
  }
}

/// How heapctl ends, by sysexits(3).
enum Ending {
  static let refused = ExitCode(1)
  static let wrongUsage = ExitCode(EX_USAGE)
  static let noHeap = ExitCode(EX_UNAVAILABLE)
  static let noPermission = ExitCode(EX_NOPERM)
}

/// Says what went wrong and ends with the status for it.
func reporting(_ body: () async throws -> Void) async throws {
  do {
    try await body()
  } catch let error as HeapError {
    complain("\(error)")
    switch error.code {
    case .accessDenied: throw Ending.noPermission
    case .notFound, .notSupported: throw Ending.noHeap
    default: throw Ending.refused
    }
  } catch let fault as FileFault {
    complain("\(fault)")
    throw fault.isForbidden ? Ending.noPermission : Ending.refused
  }
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
