internal import CLinuxHeaps

/// Which process made something: a child of fork(2) has its parent's locks, which threads may hold that are not there, and none of its
/// threads.
package struct ForkMark: Sendable {
  private let count = CLinuxHeaps_fork_count()

  package init() {}

  /// Whether it is the parent's of this process.
  package var isParents: Bool { count != CLinuxHeaps_fork_count() }
}
