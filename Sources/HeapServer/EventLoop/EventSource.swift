/// What an event is of: a kind, and where there are many of it, which.
struct EventSource: RawRepresentable {
  enum Kind: UInt64 {
    case mailbox, reclaimer, heapListener, observerListener, metricsListener
    case connection, client, metricsReader, signal
  }

  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ kind: Kind, _ id: UInt64 = 0) { rawValue = id << 4 | kind.rawValue }

  // Made of a kind, so there is one.
  var kind: Kind { Kind(rawValue: rawValue & 15)! }
  var id: UInt64 { rawValue >> 4 }
}
