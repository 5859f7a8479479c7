internal import ArgumentParser

struct Completion: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Prints the script that completes heapctl's words in a shell.",
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
    let script =
      switch shell {
      case .bash: Heapctl.completionScript(for: .bash)
      case .zsh: Heapctl.completionScript(for: .zsh)
      case .fish: Heapctl.completionScript(for: .fish)
      }
    show(script)
  }
}
