internal import ArgumentParser
internal import BuildFacts

@main
struct Heapctl: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "heapctl",
    abstract: "Finds, tries and checks the dma-buf heaps of this machine.",
    discussion: """
      Exit status: 0 all right; 1 a check failed or a request was refused; 64 wrong usage; \
      69 no heap can serve the request; 77 no permission.
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
}
