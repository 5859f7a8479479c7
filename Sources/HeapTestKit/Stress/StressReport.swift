internal import LinuxHeaps

/// What a stress run did, and what it left.
public struct StressReport: Sendable {
  /// What was done, by kind; what a peer did counts with what this process did.
  public enum Kind: String, CaseIterable, Sendable {
    case allocate, slice, duplicate, adopt, map, write, read, unmap, pass, send, receive, drop
    case `import`, release, start, fork, kill, end, close, delete
  }

  public let seed: UInt64
  /// The most bytes that the run has live at once.
  public let limit: UInt64
  /// Steps that were done, those that give all back at the end not included.
  public internal(set) var steps = 0
  public internal(set) var counts: [Kind: Int] = [:]
  /// FNV-1a of the steps' actions: two runs with the same digest did the same.
  public internal(set) var digest: UInt64 = 0xcbf2_9ce4_8422_2325
  public internal(set) var bytes: UInt64 = 0
  public internal(set) var mostBuffers = 0
  public internal(set) var mostBytes: UInt64 = 0
  /// Allocations that the heap had no room for.
  public internal(set) var refused = 0
  /// The devices that buffers were imported into.
  public internal(set) var devices: [String] = []
  /// How often the kernel's own count of references was compared with the model's.
  public internal(set) var countsCompared = 0
  /// Whether the kernel's list of dma-bufs was looked at in the end.
  public internal(set) var lookedAtList = false
  /// Whether the caller ended it early.
  public internal(set) var wasEnded = false
  /// What did not hold, and in which step.
  public internal(set) var failure: String?
  /// What was not given back, each in words.
  public internal(set) var leaks: [String] = []

  init(seed: UInt64, limit: UInt64) {
    self.seed = seed
    self.limit = limit
  }

  public var hasPassed: Bool { failure == nil && leaks.isEmpty }

  mutating func add(_ action: StressAction) {
    steps += 1
    counts[action.kind, default: 0] += 1
    if case .allocate(_, _, let pages, _) = action { bytes += pages * pageSize }
    for byte in "\(action)\n".utf8 { digest = (digest ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
  }
}
