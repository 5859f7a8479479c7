internal import ArgumentParser
internal import LinuxHeaps
internal import SystemPackage

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists this machine's heaps: the kernel's and the built-in ones.")

  @OptionGroup var output: OutputChoice

  func run() throws {
    let heaps = HeapCatalog().heaps()
    let builtIn: [(name: String, role: HeapRole, isUsable: Bool)] = [
      (UDMABufHeap.name, .system, UDMABufHeap.isUsable), (MemfdHeap.name, .system, true),
      (OpaqueHeap.name, .other, true),
    ]
    let rows =
      heaps.map { heap in
        Row(
          name: heap.name, kind: "dma-heap", path: heap.path.string, roles: [heap.role.rawValue],
          duplicateOf: heap.duplicateOf, mode: heap.node?.octalMode, owner: heap.node?.owner,
          group: heap.node?.group, usable: heap.node?.isUsable ?? false,
          capacityBytes: heap.capacity, freeBytes: heap.free, kernels: heap.kernels)
      }
      + builtIn.map { Row(name: $0, kind: $0, roles: [$1.rawValue], usable: $2) }
    if output.json { return try showJSON(rows, named: "heaps") }
    let heads = ["NAME", "ROLE", "SAME AS", "MODE", "OWNER", "USABLE", "CAPACITY", "FREE", "PATH"]
    table(heads, rows.map(\.cells)).forEach(show)
    if heaps.isEmpty {
      tell(
        "/dev/dma_heap has no heap: a kernel with CONFIG_DMABUF_HEAPS has (booted with cma=64M, a contiguous one too)"
      )
    }
  }

  private struct Row: Encodable {
    let name: String
    let kind: String
    var path: String?
    let roles: [String]
    var duplicateOf: String?
    var mode: String?
    var owner: String?
    var group: String?
    let usable: Bool
    var capacityBytes: UInt64?
    var freeBytes: UInt64?
    var kernels: String?

    var cells: [String] {
      [
        name.visible, roles.joined(separator: ","), duplicateOf?.visible ?? "-", mode ?? "-",
        owner.map { "\($0):\(group ?? "")" } ?? "-", usable ? "yes" : "no",
        capacityBytes?.asByteCount ?? "-", freeBytes?.asByteCount ?? "-",
        path?.visible ?? "built in",
      ]
    }
  }
}
