internal import HeapSurvey
internal import LinuxHeaps
internal import Logging

// Who keeps a deletion waiting, as far as /proc tells.

extension ServerLoop {
  /// A deletion waits for long. One line of the log for each buffer; a search reads all of /proc, so
  /// there is one at a time, for all that came meanwhile.
  func reportHolders(of key: BufferKey) {
    overdueDeletions.append(key)
    if !isSearching { searchForHolders() }
  }

  func searchForHolders() {
    let buffers = overdueDeletions.compactMap { key -> (VMOIdentity, Logger.Metadata)? in
      guard let charge = ledger.charges[key], let identity = heap.buffers.identity(of: key) else {
        return nil
      }
      return (identity, metadata(key, charge))
    }
    overdueDeletions = []
    isSearching = !buffers.isEmpty
    guard isSearching else { return }
    let (log, mailbox) = (self.log, self.mailbox)
    workers.run(in: Workers.Lane(0, of: .server)) {
      let holders = Holder.find(Set(buffers.map(\.0)))
      for (identity, metadata) in buffers {
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
