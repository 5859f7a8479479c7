internal import LinuxHeaps

extension Report {
  var heapSection: Markup {
    if heaps.isEmpty { return "" }
    let heads = [
      "Name", "Role", "Kind", "Node", "Owner and mode", "Capacity", "Free", "Same memory as",
    ]
    return Page.section("heaps", "Heaps", Page.table(heads, heaps.map(\.cells)))
  }
}

extension Report.Heap {
  fileprivate var cells: [Markup] {
    let rights = owner.map { "\($0):\(group ?? "–") \(mode ?? "")" }
    return [
      "<th scope=\"row\"><code>\(name)</code></th>", Page.cell(role), Page.cell(kind),
      Page.cell(path ?? "built in"),
      Page.cell((rights ?? "–") + (usable ? "" : ", closed to this user")),
      Page.cell(capacityBytes?.asByteCount), Page.cell(freeBytes?.asByteCount),
      Page.cell(duplicateOf),
    ]
  }
}
