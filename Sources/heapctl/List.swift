internal import ArgumentParser
internal import HeapTestKit
internal import LinuxHeaps
internal import SystemPackage

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows the heaps of this machine, those of the kernel and those built in.")

  @Flag(help: "Print JSON.")
  var json = false

  @OptionGroup var color: ColorChoice

  struct Row: Encodable {
    let name: String
    let kind: String
    let path: String?
    let roles: [String]
    let duplicateOf: String?
    let mode: String?
    let owner: String?
    let group: String?
    let usable: Bool
    let capacityBytes: UInt64?
    let freeBytes: UInt64?
    let kernels: String?
  }

  func run() throws {
    let heaps = HeapCatalog().heaps()
    let rows = heaps.map(Row.init) + Row.builtIn
    if json {
      try JSONReport(body: rows, name: "heaps").show()
      return
    }
    let heads = ["NAME", "ROLE", "SAME AS", "MODE", "OWNER", "USABLE", "CAPACITY", "FREE", "PATH"]
    for line in Table(heads, rows.map(\.cells)).lines { show(line) }
    if heaps.isEmpty {
      tell(
        "/dev/dma_heap has no heap: a kernel with CONFIG_DMABUF_HEAPS has (booted with cma=64M, a contiguous one too)"
      )
    }
  }
}

extension List.Row {
  init(_ entry: HeapEntry) {
    self.init(
      name: entry.name, kind: "dma-heap", path: entry.path.string, roles: [entry.role.rawValue],
      duplicateOf: entry.duplicateOf,
      mode: entry.node?.octalMode, owner: entry.node?.owner, group: entry.node?.group,
      usable: entry.node?.isUsable ?? false, capacityBytes: entry.capacity,
      freeBytes: entry.free, kernels: entry.kernels)
  }

  private init(builtIn name: String, roles: [HeapRole], usable: Bool = true) {
    self.init(
      name: name, kind: name, path: nil, roles: roles.map(\.rawValue), duplicateOf: nil, mode: nil,
      owner: nil, group: nil, usable: usable, capacityBytes: nil, freeBytes: nil, kernels: nil)
  }

  static let builtIn = [
    Self(builtIn: UDMABufHeap.name, roles: [.system], usable: UDMABufHeap.isUsable),
    Self(builtIn: MemfdHeap.name, roles: [.system]),
    Self(builtIn: OpaqueHeap.name, roles: [.other]),
  ]

  var cells: [String] {
    let who = owner.map { "\($0):\(group ?? "")" }
    return [
      name.printable, roles.joined(separator: ","), duplicateOf?.printable ?? "-", mode ?? "-",
      who ?? "-",
      usable ? "yes" : "no", capacityBytes?.asByteCount ?? "-", freeBytes?.asByteCount ?? "-",
      path?.printable ?? "built in",
    ]
  }
}
