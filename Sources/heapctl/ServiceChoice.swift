internal import ArgumentParser

/// The service to ask in place of this machine's own heaps.
struct ServiceChoice: ParsableArguments {
  @Option(
    help: ArgumentHelp("Ask the heap service (heapd) at this socket.", valueName: "path"))
  var socket: String?

  func validate(against choice: HeapChoice) throws {
    if socket != nil && !choice.names.isEmpty {
      throw ValidationError("--heap and --socket exclude each other: the service has its own heap")
    }
  }
}
