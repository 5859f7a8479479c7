internal import ArgumentParser
internal import HeapTestKit
internal import LinuxHeaps
internal import SystemPackage

/// The heap that a command works on.
struct HeapChoice: ParsableArguments {
  @Option(
    name: .customLong("heap"),
    help: ArgumentHelp(
      "A heap by its whole name, or one built in: memfd, udmabuf, opaque. May be repeated.",
      valueName: "name"))
  var names: [String] = []

  static let builtIn: [String: HeapUnderTest] = [
    MemfdHeap.name: .memfd, UDMABufHeap.name: .udmabuf, OpaqueHeap.name: .opaque,
  ]
}
