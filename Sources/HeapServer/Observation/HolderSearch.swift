internal import HeapSurvey
internal import LinuxHeaps
internal import Logging

/// Who keeps deletions waiting, as far as /proc tells: one line of the log for each buffer.
///
/// A search reads all of /proc, so there is one at a time, for all buffers that came meanwhile.
final class HolderSearch {
  private var overdue: [BufferKey] = []
  private var isSearching = false
  private let shared: Shared
  private let buffers: ServedBuffers

  init(_ shared: Shared, _ buffers: ServedBuffers) {
    self.shared = shared
    self.buffers = buffers
  }

  /// Its deletion waits for long.
  func add(_ key: BufferKey) {
    overdue.append(key)
    if !isSearching { goOn() }
  }

  /// The search before, if any, has ended.
  func goOn() {
    let held = overdue.compactMap { buffers.held($0) }
    overdue = []
    isSearching = !held.isEmpty
    guard isSearching else { return }
    let (log, mailbox) = (shared.log, shared.mailbox)
    shared.workers.run(in: Workers.Lane(0, of: .server)) {
      let holders = Holder.find(Set(held.map(\.identity)))
      for (identity, metadata) in held {
        let found = holders[identity]?.map(\.description).joined(separator: ", ")
        log.warning(
          "a buffer is still held 5 s after DeleteVmo",
          metadata: metadata.merging([
            "holders": "\(found ?? "none that /proc shows to this user")"
          ]) { $1 })
      }
      mailbox.post(.searched)
    }
  }
}
