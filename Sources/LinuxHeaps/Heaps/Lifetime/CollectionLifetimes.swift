/// How many buffers each collection has that are not fully reclaimed, and who wants to know.
struct CollectionLifetimes {
  private struct Collection {
    var buffers = 0
    var trackers: [LifetimeTracker] = []
  }

  private var collections: [UInt64: Collection] = [:]

  mutating func begin(_ id: UInt64) {
    collections[id, default: Collection()].buffers += 1
  }

  /// The trackers that this end makes due; the caller closes them.
  mutating func end(_ id: UInt64) -> [LifetimeTracker] {
    guard var collection = collections.removeValue(forKey: id) else { return [] }
    collection.buffers -= 1
    let due = collection.trackers.filter { collection.buffers <= $0.buffersRemaining }
    collection.trackers.removeAll { collection.buffers <= $0.buffersRemaining }
    if collection.buffers > 0 { collections[id] = collection }
    return due
  }

  /// True where the tracker is due already.
  mutating func attach(_ tracker: LifetimeTracker, to id: UInt64) -> Bool {
    if collections[id]?.buffers ?? 0 <= tracker.buffersRemaining { return true }
    collections[id]?.trackers.append(tracker)
    return false
  }
}
