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

  /// A heap of its own, and what to ask of it.
  struct Chosen {
    let name: String
    let heap: any LocalHeap
    let settings: SingleBufferSettings
    /// Bytes of its contiguous region, where it has one.
    let capacity: UInt64?
  }

  /// Those that were named, else every usable one whose memory the processor reaches. That a heap is there
  /// shows when it is asked for memory.
  func heaps() -> [Chosen] {
    let entries = HeapCatalog().heaps()
    let usable = entries.filter { $0.node?.isUsable == true && $0.role != .protected }
    let names =
      self.names.isEmpty
      ? usable.map(\.name) + (UDMABufHeap.isUsable ? [UDMABufHeap.name] : []) + [MemfdHeap.name]
      : self.names
    return names.map { name in
      let entry = entries.first { $0.name == name }
      let heap: any LocalHeap =
        switch name {
        case MemfdHeap.name: MemfdHeap()
        case UDMABufHeap.name: UDMABufHeap()
        case OpaqueHeap.name: OpaqueHeap()
        default: DMABufHeap(heaps: [name])
        }
      return Chosen(
        name: name, heap: heap,
        settings: entry?.role == .contiguous ? .contiguous : SingleBufferSettings(),
        capacity: entry?.role == .contiguous ? entry?.capacity : nil)
    }
  }
}
