import Foundation
import Testing

@testable import LinuxHeaps

@Suite struct UdevRuleTests {
  /// A rule of /udev that gives a link to a heap.
  struct Link {
    let heap: String
    let role: String
    let priority: Int
  }

  static func links() throws -> [Link] {
    let rules = try Readme.file("udev/00-linux-heaps.rules")
    return rules.split(separator: "\n").compactMap { line in
      let rule =
        /KERNEL=="([^"]+)", SYMLINK\+="dma_heap-by-role\/([^"]+)"(?:, OPTIONS\+="link_priority=([0-9]+)")?/
      return try? rule.wholeMatch(in: line).map { match in
        Link(
          heap: String(match.1), role: String(match.2), priority: match.3.flatMap { Int($0) } ?? 0)
      }
    }
  }

  @Test func `the rules' roles are those of the catalogue`() throws {
    let links = try Self.links()
    #expect(links.count == 9)
    for known in KnownHeapName.table where known.role == .contiguous || known.name == "system" {
      #expect(links.first { $0.heap == known.name }?.role == known.role.rawValue)
    }
    for link in links { #expect(KnownHeapName.named(link.heap)?.role.rawValue == link.role) }
  }

  @Test func `of several names of a role the catalogue's first has the link`() throws {
    let contiguous = try Self.links().filter { $0.role == "contiguous" }
      .sorted { $0.priority > $1.priority }
    #expect(Set(contiguous.map(\.priority)).count == contiguous.count)
    #expect(
      contiguous.map(\.heap)
        == KnownHeapName.table.filter { $0.role == .contiguous }.map(\.name))
    // Above a name that only the region tells, below what other rules would ask for.
    #expect(contiguous.allSatisfy { (1...9).contains($0.priority) })
  }

  // udev(7): of files of one name the first directory's counts, and the last GROUP= of all files.
  @Test func `the file hides no other, and comes before all`() throws {
    let rules = try Readme.file("udev/00-linux-heaps.rules")
    #expect(!rules.contains(":="))
    for theirs in [
      "10-vc.rules", "20-dma-heap.rules", "60-dma-heap.rules", "60-media.rules",
      "99-dma-heap.rules",
    ] {
      #expect("00-linux-heaps.rules" < theirs)
    }
  }
}
