/// What one run of `heapctl bench` measured: the value that its table, its JSON and its picture are made of.
package struct BenchReport: Encodable, Sendable {
  package struct Row: Encodable, Sendable {
    package let heap: String
    package let sizeBytes: UInt64
    package let step: String
    package let nanoseconds: LatencySummary

    package init(heap: String, sizeBytes: UInt64, step: String, nanoseconds: LatencySummary) {
      self.heap = heap
      self.sizeBytes = sizeBytes
      self.step = step
      self.nanoseconds = nanoseconds
    }
  }

  package let rounds: Int
  /// Reasons to doubt the times.
  package let warnings: [String]
  /// Heap by heap, size by size, in the order of a buffer's life.
  package let rows: [Row]

  package init(rounds: Int, warnings: [String], rows: [Row]) {
    self.rounds = rounds
    self.warnings = warnings
    self.rows = rows
  }
}
