import LinuxHeaps
import Testing

@Suite struct ListTests {
  @Test func `JSON has every heap, with the same fields as the catalogue`() throws {
    let run = try Run.heapctl("list", "--json")
    #expect(run.status == 0)
    #expect(run.error == "")
    let rows = try #require(try run.json["heaps"] as? [[String: Any]])
    let names = rows.compactMap { $0["name"] as? String }
    #expect(names == HeapCatalog().heaps().map(\.name) + ["udmabuf", "memfd", "opaque"])
    for (row, entry) in zip(rows, HeapCatalog().heaps()) {
      #expect(row["roles"] as? [String] == [entry.role.rawValue])
      #expect(row["path"] as? String == "/dev/dma_heap/\(entry.name)")
      #expect(row["duplicateOf"] as? String == entry.duplicateOf)
      #expect(row["usable"] as? Bool == entry.node?.isUsable)
      #expect(row["capacityBytes"] as? UInt64 == entry.capacity)
    }
  }

  @Test func `the table has a line for each heap`() throws {
    let run = try Run.heapctl("list")
    #expect(run.status == 0)
    let lines = run.output.split(separator: "\n")
    #expect(lines.first?.split(separator: " ").first == "NAME")
    #expect(lines.count == 1 + HeapCatalog().heaps().count + 3)
  }

  @Test func `wrong usage is told as such`() throws {
    #expect(try Run.heapctl("list", "--no-such-flag").status == 64)
    #expect(try Run.heapctl("no-such-verb").status == 64)
  }
}
