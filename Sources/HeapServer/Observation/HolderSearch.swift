internal import CLibrary
internal import HeapSurvey
internal import LinuxHeaps
internal import Logging

/// Who keeps deletions waiting, as far as /proc tells: a line of the log for each buffer, as many as a user may have.
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

  /// What a search found of a buffer: whose account it is on, and what there is to say.
  struct Found: Sendable {
    let user: uid_t
    let facts: Logger.Metadata
  }

  /// A search has ended. Who has many deletions wait fills no log with them.
  func end(_ found: [Found]) {
    for one in found {
      shared.clientLog.note("a buffer is still held 5 s after DeleteVmo", of: one.user, one.facts)
    }
    goOn()
  }

  private func goOn() {
    for (user, facts) in overdue.compactMap({ buffers.closing($0) }) {
      shared.clientLog.note("a buffer's last close waits 5 s after DeleteVmo", of: user, facts)
    }
    let held = overdue.compactMap { buffers.held($0) }
    overdue = []
    isSearching = !held.isEmpty
    guard isSearching else { return }
    let mailbox = shared.mailbox
    shared.searchers.run(in: Workers.Lane(0, of: .server)) {
      let holders = Holder.find(Set(held.map(\.identity)))
      let found = held.map { identity, user, facts in
        let names = holders[identity]?.map(\.description).joined(separator: ", ")
        let told = names ?? "none that /proc shows to this user"
        return Found(user: user, facts: facts.merging(["holders": "\(told)"]) { $1 })
      }
      mailbox.post(.searched(found))
    }
  }
}
