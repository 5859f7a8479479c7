internal import ArgumentParser
internal import LinuxHeaps
internal import SystemPackage

struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Lists this machine's heaps: the kernel's and the built-in ones.")

  @OptionGroup var output: OutputChoice

  func run() throws {
    let catalog = HeapCatalog()
    try catalog.checkReadable("list heaps")
    let heaps = catalog.heaps()
    var rows = heaps.map { heap in
      Row(
        name: heap.name, kind: "dma-heap", path: heap.path.string, roles: [heap.role.rawValue],
        duplicateOf: heap.duplicateOf, mode: heap.node?.octalMode, owner: heap.node?.owner,
        group: heap.node?.group, capacityBytes: heap.capacity, freeBytes: heap.free,
        kernels: heap.kernels)
    }
    rows += catalog.missing().map { name in
      Row(
        name: name, kind: "dma-heap", path: "\(HeapCatalog.directory)/\(name)",
        roles: [catalog.role(named: name).rawValue])
    }
    rows += [
      (UDMABufHeap.name, HeapRole.system), (MemfdHeap.name, .system), (OpaqueHeap.name, .other),
    ]
    .map { Row(name: $0, kind: $0, roles: [$1.rawValue]) }
    let pages = HugePageSize.all()
    rows.append(
      Row(
        name: HugeHeap.name, kind: HugeHeap.name, roles: [HeapRole.contiguous.rawValue],
        capacityBytes: pages.reduce(0) { $0 + $1.total },
        freeBytes: pages.reduce(0) { $0 + $1.available }))
    for index in rows.indices {
      do throws(HeapError) {
        try NamedHeap([rows[index].name]).check("use", among: heaps)
      } catch {
        rows[index].unusable = error.words
      }
    }
    if let exposure = catalog.exposure() { tell("\(HeapCatalog.directory) \(exposure.words)") }
    if output.json { return try showJSON(rows, named: "heaps") }
    let heads = ["NAME", "ROLE", "SAME AS", "MODE", "OWNER", "USABLE", "CAPACITY", "FREE", "PATH"]
    table(heads, rows.map(\.cells)).forEach(show)
    for row in rows {
      if let reason = row.unusable { tell("\(row.name.visible): \(reason.visible)") }
    }
    if let absence = catalog.absence(), absence.cause == .directoryClosed {
      tell("\(HeapCatalog.directory) \(absence.words)")
    } else if !rows.contains(where: { $0.path != nil }) {
      tell("there is no heap in \(HeapCatalog.directory): heapctl doctor tells why")
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
    private(set) var usable = true
    /// Why it is not, and how to mend that.
    var unusable: String? { didSet { usable = unusable == nil } }
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
