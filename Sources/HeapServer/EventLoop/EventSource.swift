/// What an event is of: a kind, and where there are many of it, which.
struct EventSource: RawRepresentable {
  enum Kind: UInt64 {
    case mailbox, reclaimer, heapListener, observerListener, metricsListener
    case connection, client, metricsReader
  }

  let rawValue: UInt64

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(_ kind: Kind, _ id: UInt64 = 0) { rawValue = id << 3 | kind.rawValue }

  // Three bits, eight kinds.
  var kind: Kind { Kind(rawValue: rawValue & 7)! }
  var id: UInt64 { rawValue >> 3 }
}
