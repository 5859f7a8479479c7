internal import LinuxHeaps

extension HoldersReport {
  func show() { for line in lines { heapctl.show(line) } }

  var lines: [String] {
    bufferLines + totalLines + (notes.isEmpty ? [] : [""] + notes)
  }

  private var bufferLines: [String] {
    guard !buffers.isEmpty else { return ["no buffers"] }
    let table = Table(
      ["HEAP", "SIZE", "INODE", "COUNT", "COLLECTION", "INDEX", "NAME"], buffers.map(\.cells)
    ).lines
    return [table[0]]
      + zip(table.dropFirst(), buffers).flatMap { [$0] + $1.holderLines(unseen.processes) }
  }

  private var totalLines: [String] {
    guard !buffers.isEmpty else { return [] }
    return [""]
      + Table(
        ["HEAP", "BUFFERS", "BYTES"],
        heaps.map { [$0.heap, "\($0.buffers)", $0.sizeBytes.asByteCount] }
      ).lines + [""]
      + Table(
        ["PROCESS", "PROGRAM", "BUFFERS", "BYTES"],
        processes.map {
          ["\($0.process)", $0.program.printable, "\($0.buffers)", $0.sizeBytes.asByteCount]
        }
      ).lines
  }

  /// What this user could not see.
  var notes: [String] {
    var notes: [String] = []
    if unseen.processes > 0 {
      notes.append("not seen: \(unseen.processes.counted("process", "processes")) of other users")
    }
    for failure in [unseen.debugfs, unseen.bpf].compactMap({ $0 }) {
      notes.append("not seen: the kernel's own list of dma-bufs (\(failure))")
    }
    return notes
  }
}

extension HoldersReport.Buffer {
  var cells: [String] {
    [
      heap ?? "?", sizeBytes?.asByteCount ?? "?", "\(inode)", referenceCount.map { "\($0)" } ?? "-",
      collection.map { "\($0)" } ?? "-", index.map { "\($0)" } ?? "-", name?.printable ?? "-",
    ]
  }

  func holderLines(_ unseenProcesses: Int) -> [String] {
    var lines = holders.map {
      "  process \($0.process) (\($0.program.printable)): "
        + $0.descriptors.counted("descriptor", "descriptors") + ", "
        + $0.mappings.counted("mapping", "mappings")
    }
    let imports = devices.isEmpty ? nil : "imported by \(devices.joined(separator: ", "))"
    if let heldBeyond, heldBeyond > 0 {
      let who =
        imports
        ?? "a device's import, a message in flight"
        + (unseenProcesses > 0 ? ", or a process of another user" : "")
      lines.append("  beyond processes: \(heldBeyond.counted("reference", "references")), \(who)")
    } else if let imports {
      lines.append("  \(imports)")
    }
    return lines
  }
}

extension Int {
  /// `1 mapping`, `2 mappings`.
  func counted(_ one: String, _ many: String) -> String { "\(self) \(self == 1 ? one : many)" }
}
