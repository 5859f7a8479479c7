import Glibc
package import LinuxHeaps
import SystemPackage

/// A service manager's notification socket and store of descriptors, as sd_notify(3) describes them.
package final class DescriptorStore: Sendable {
  /// How the manager treats what it is handed.
  package struct Habits: Sendable {
    /// `FileDescriptorStoreMax=`; what is one too many is closed.
    package var capacity = Int.max
    /// How long after its answer to `BARRIER=1` it closes what it does not keep, in milliseconds.
    /// systemd does that on another thread.
    package var lateness: UInt32 = 0
    /// How long it takes to answer `BARRIER=1`, in milliseconds; nil for never.
    package var slowness: UInt32? = 0

    package init(capacity: Int = .max, lateness: UInt32 = 0, slowness: UInt32? = 0) {
      self.capacity = capacity
      self.lateness = lateness
      self.slowness = slowness
    }
  }

  package struct Entry: Sendable {
    package let name: String
    package let file: SharedFD
  }

  private struct State {
    var habits: Habits
    var entries: [Entry] = []
    /// `READY=1` so far.
    var readies = 0
    /// The last message of its own that it read.
    var mark = 0
    /// Descriptors that it was handed to keep.
    var offers = 0
    var barriers = 0
    /// What it was told to keep and to let go of, in order: `+NAME` and `-NAME`.
    var changes: [String] = []
    /// Barriers that are not answered, while it answers none.
    var unanswered: [SharedFD] = []
    /// What it lets go of late.
    var letGo: [SharedFD] = []
  }

  package let path: String
  private let state: Guarded<State>
  private let inbox: MessageSocket
  private let outbox: MessageSocket

  package init(at path: String, _ habits: Habits = Habits()) throws {
    self.path = path
    state = Guarded(State(habits: habits))
    inbox = MessageSocket(adopting: try SocketFile.bound(path, SOCK_DGRAM))
    outbox = MessageSocket(adopting: try SocketFile.connected(path, SOCK_DGRAM))
    try KernelThread.start("stand-in") { [self] in
      while receive() {}
    }
  }

  // MARK: Hearing

  private func receive() -> Bool {
    guard var message = try? inbox.receive() else { return true }
    var fields: [Substring: Substring] = [:]
    for line in String(decoding: message.bytes, as: UTF8.self).split(separator: "\n") {
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      fields[parts[0]] = parts.count > 1 ? parts[1] : ""
    }
    let name = fields["FDNAME"].map(String.init) ?? "stored"
    if fields["FDSTORE"] != nil {
      while let file = message.descriptors.next() { keep(SharedFD(file), name) }
    }
    if fields["FDSTOREREMOVE"] != nil { remove(name) }
    if fields["BARRIER"] != nil, let end = message.descriptors.next() { answer(SharedFD(end)) }
    state.withLock { state in
      if fields["READY"] != nil { state.readies += 1 }
      if let mark = fields["X_MARK"].flatMap({ Int($0) }) { state.mark = mark }
    }
    return fields["X_END"] == nil
  }

  /// By closing what came with the barrier.
  private func answer(_ end: SharedFD) {
    let slowness = state.withLock { state in
      state.barriers += 1
      if state.habits.slowness == nil { state.unanswered.append(end) }
      return state.habits.slowness
    }
    if let slowness, slowness > 0 { usleep(slowness * 1000) }
  }

  private func keep(_ file: SharedFD, _ name: String) {
    let isKept = state.withLock { state in
      state.offers += 1
      state.changes.append("+" + name)
      guard state.entries.count < state.habits.capacity else { return false }
      state.entries.append(Entry(name: name, file: file))
      return true
    }
    if !isKept { letGo([file]) }
  }

  private func remove(_ name: String) {
    let files = state.withLock { state in
      let files = state.entries.filter { $0.name == name }.map(\.file)
      state.entries.removeAll { $0.name == name }
      state.changes.append("-" + name)
      return files
    }
    letGo(files)
  }

  private func letGo(_ files: [SharedFD]) {
    let lateness = state.withLock { state in
      if state.habits.lateness > 0 { state.letGo += files }
      return state.habits.lateness
    }
    guard lateness > 0 else { return }
    try? KernelThread.start("stand-in-close") { [self] in
      usleep(lateness * 1000)
      let gone = state.withLock { state in
        defer { state.letGo.removeAll { old in files.contains { $0 === old } } }
        return files
      }
      _ = gone
    }
  }

  // MARK: Asking

  package var entries: [Entry] { state.withLock { $0.entries } }
  package var readies: Int { state.withLock { $0.readies } }
  package var offers: Int { state.withLock { $0.offers } }
  package var barriers: Int { state.withLock { $0.barriers } }
  package var changes: [String] { state.withLock { $0.changes } }

  /// Answers barriers from now on, and those before.
  package func wakeUp() {
    let ends = state.withLock { state in
      state.habits.slowness = 0
      defer { state.unanswered = [] }
      return state.unanswered
    }
    withExtendedLifetime(ends) {}
  }

  /// Puts something in that no service sent.
  package func insert(_ file: consuming OwnedFD, as name: String) {
    let file = SharedFD(file)
    state.withLock { $0.entries.append(Entry(name: name, file: file)) }
  }

  /// Has all it keeps under the name of the first.
  package func mixUp() {
    state.withLock { state in
      guard let name = state.entries.first?.name else { return }
      state.entries = state.entries.map { Entry(name: name, file: $0.file) }
    }
  }

  /// Lets go of what it has, and says so to nobody.
  package func lose() {
    letGo(
      state.withLock { state in
        defer { state.entries = [] }
        return state.entries.map(\.file)
      })
  }

  /// Waits until all that was sent before is dealt with.
  package func catchUp() throws {
    let mark = state.withLock { $0.mark } + 1
    try outbox.send(Array("X_MARK=\(mark)".utf8))
    while state.withLock({ $0.mark }) < mark { usleep(200) }
  }

  /// Lets go of everything, and of the socket.
  package func end() {
    state.withLock { $0.entries = [] }
    try? outbox.send(Array("X_END=1".utf8))
  }
}
