import Foundation
import Glibc
import LinuxHeaps
import TestSupport
import Testing

@Suite struct ListTests {
  /// A field that nothing is known of is not there.
  private static func fields(_ pairs: (String, Any?)...) -> [String: Any] {
    Dictionary(
      uniqueKeysWithValues: pairs.compactMap { name, value in value.map { (name, $0) } })
  }

  private static func rows() -> [[String: Any]] {
    let nodes = HeapCatalog().heaps().map { entry in
      fields(
        ("name", entry.name), ("kind", "dma-heap"), ("path", "/dev/dma_heap/\(entry.name)"),
        ("roles", [entry.role.rawValue]), ("duplicateOf", entry.duplicateOf),
        ("mode", entry.node?.octalMode), ("owner", entry.node?.owner),
        ("group", entry.node?.group), ("usable", unusable(entry.name) == nil),
        ("unusable", unusable(entry.name)),
        ("capacityBytes", entry.capacity), ("freeBytes", entry.free), ("kernels", entry.kernels))
    }
    let builtIn = [
      ("udmabuf", "system"), ("memfd", "system"), ("opaque", "other"),
    ]
    let pages = HugePageSize.all()
    return nodes
      + builtIn.map { name, role in
        fields(
          ("name", name), ("kind", name), ("roles", [role]), ("usable", unusable(name) == nil),
          ("unusable", unusable(name)))
      } + [
        fields(
          ("name", "hugetlb"), ("kind", "hugetlb"), ("roles", ["contiguous"]),
          ("usable", unusable("hugetlb") == nil), ("unusable", unusable("hugetlb")),
          ("capacityBytes", pages.reduce(0) { $0 + $1.total }),
          ("freeBytes", pages.reduce(0) { $0 + $1.available }))
      ]
  }

  /// As an allocation would be refused.
  private static func unusable(_ heap: String) -> String? {
    do throws(HeapError) {
      try NamedHeap([heap]).check("use")
      return nil
    } catch {
      return error.words
    }
  }

  @Test func `JSON has every heap, with all that the catalogue knows`() throws {
    let run = try Run.heapctl("list", "--json")
    let expected: [String: Any] = [
      "schemaVersion": 1, "kernelRelease": kernelRelease, "heaps": Self.rows(),
    ]
    #expect(NSDictionary(dictionary: try run.json) == NSDictionary(dictionary: expected))
    #expect(run.error == "")
    #expect(run.status == 0)
  }

  @Test func `the table says the same`() throws {
    let run = try Run.heapctl("list")
    let table = run.output.split(separator: "\n").map {
      $0.replacing(#/  +/#, with: "|").split(separator: "|").map(String.init)
    }
    func size(_ value: Any?) -> String { (value as? UInt64)?.asByteCount ?? "-" }
    let rows = Self.rows().map { row in
      let roles = row["roles"] as? [String] ?? []
      let owner = row["owner"].map { "\($0):\(row["group"] ?? "")" }
      return [
        row["name"] as? String ?? "", roles.joined(separator: ","),
        row["duplicateOf"] as? String ?? "-", row["mode"] as? String ?? "-", owner ?? "-",
        row["usable"] as? Bool == true ? "yes" : "no", size(row["capacityBytes"]),
        size(row["freeBytes"]), row["path"] as? String ?? "built in",
      ]
    }
    let heads = [
      "NAME", "ROLE", "SAME AS", "MODE", "OWNER", "USABLE", "CAPACITY", "FREE", "PATH",
    ]
    #expect(table == [heads] + rows)
    let reasons = Self.rows().compactMap { row in
      row["unusable"].map { "\(row["name"] ?? ""): \($0)\n" }
    }
    #expect(
      run.error
        == reasons.joined()
        + (HeapCatalog().heaps().isEmpty
          ? "there is no heap in /dev/dma_heap: heapctl doctor tells why\n" : ""))
    #expect(run.status == 0)
  }

  /// The machine would seem to have no heap.
  @Test(
    .enabled(if: unsafe access("/usr/bin/strace", X_OK) == 0, "needs strace"),
    arguments: [
      ["list"], ["list", "--json"], ["alloc", "--size", "1M"],
      ["alloc", "--size", "1M", "--contiguous"], ["demo"], ["doctor"],
    ])
  func `a full descriptor table is told, and not a machine without heaps`(_ words: [String]) throws
  {
    // All opens of heapctl, or those of heaps' directory alone: then the table is full from there on. Huge pages need no heap.
    let needsNone = words == ["doctor"] || words.last == "--contiguous" && HugeHeap.isUsable
    for path in ["/proc/self/stat", "/dev/dma_heap"].dropLast(needsNone ? 1 : 0) {
      let run = try Run.heapctl(
        words,
        through: [
          "/usr/bin/strace", "-qq", "-f", "-o", "/dev/null", "-P", path, "-e",
          "inject=openat:error=EMFILE",
        ])
      #expect(run.status == 1)
      #expect(run.output == "")
      #expect(run.error.contains("(\(path)): Too many open files [errno 24]; NO_RESOURCES."))
      #expect(
        run.error.contains("To fix it: close descriptors, or raise this process's limit: "))
    }
  }

  @Test func `wrong usage is told as such`() throws {
    #expect(try Run.heapctl("list", "--no-such-flag").status == 64)
    #expect(try Run.heapctl("no-such-verb").status == 64)
  }
}
