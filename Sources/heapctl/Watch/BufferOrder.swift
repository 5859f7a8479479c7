internal import ArgumentParser

/// By what the buffers are sorted, in the order of the columns.
enum BufferOrder: String, CaseIterable, ExpressibleByArgument {
  case heap, size, count, holders, name

  /// Figures from the largest down, words from A to Z.
  var isDescending: Bool { self != .heap && self != .name }

  /// The column to the right, or to the left for -1; the last and the first are neighbours.
  func neighbour(_ step: Int) -> BufferOrder {
    let all = Self.allCases
    let index = (all.firstIndex(of: self) ?? 0) + step
    return all[(index + all.count) % all.count]
  }

  func sorted(_ buffers: [HoldersReport.Buffer], reversed: Bool) -> [HoldersReport.Buffer] {
    let sign = (isDescending ? -1 : 1) * (reversed ? -1 : 1)
    return buffers.sorted { left, right in
      let order = compare(left, right) * sign
      // What is equal stays where it is from sample to sample.
      return order == 0
        ? (left.sizeBytes ?? 0, right.inode) > (right.sizeBytes ?? 0, left.inode) : order < 0
    }
  }

  private func compare(_ left: HoldersReport.Buffer, _ right: HoldersReport.Buffer) -> Int {
    switch self {
    case .heap: order(left.heap ?? "?", right.heap ?? "?")
    case .size: order(left.sizeBytes ?? 0, right.sizeBytes ?? 0)
    case .count: order(left.referenceCount ?? 0, right.referenceCount ?? 0)
    case .holders: order(left.holders.count, right.holders.count)
    case .name: order(left.name ?? "", right.name ?? "")
    }
  }

  private func order<Value: Comparable>(_ left: Value, _ right: Value) -> Int {
    left < right ? -1 : left == right ? 0 : 1
  }
}
