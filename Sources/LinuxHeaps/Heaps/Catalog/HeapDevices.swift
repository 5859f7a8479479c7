internal import CLibrary
internal import SystemPackage

/// The heaps that one ``DMABufHeap`` may allocate from, with their devices, kept open between requests.
///
/// Which heaps there are is read again when the directory of their nodes has changed: heaps can be modules
/// (Linux 7.0), so a node may appear late. While a heap can serve that is asked at most every 20 ms: requests come by the
/// thousand, where they come at all.
final class HeapDevices: Sendable {
  fileprivate struct Snapshot {
    /// Open, because its path is walked at each stat(2); nil where there is none.
    let directory: SharedFD?
    /// Nil where another change could have the same.
    let stamp: DirectoryStamp?
    /// There are few roles.
    var candidates: [(role: HeapRole, heaps: [HeapCandidate])] = []
    /// When it was asked last whether it is current.
    var asked = MonotonicTime.now
  }

  private let catalog: HeapCatalog
  private let chosen: [String]?
  private let snapshot = Guarded<Snapshot?>(nil)

  /// - Parameter chosen: Names in the order of preference; nil lets the catalog choose by role.
  init(_ catalog: HeapCatalog, chosen: [String]?) {
    self.catalog = catalog
    self.chosen = chosen
  }

  /// The heaps that can serve requests for memory of this role, the preferred first.
  func candidates(_ role: HeapRole) -> [HeapCandidate] {
    snapshot.withLock { snapshot in
      let now = MonotonicTime.now
      if let known = snapshot?.recent(role, at: now) { return known }
      if snapshot?.isCurrent == true {
        snapshot!.asked = now
      } else {
        snapshot = Snapshot(of: catalog.directory)
      }
      if let known = snapshot![role] { return known }
      let entries = catalog.heaps()
      let found = names(role, entries).map { name in
        HeapCandidate(name, entries.first { $0.name == name }, in: catalog)
      }
      snapshot?.candidates.append((role, found))
      return found
    }
  }

  /// The heap of this node, where it is one that serves here; empty where it is not, or has no memory of that role.
  func candidates(_ role: HeapRole, named name: String) -> [HeapCandidate] {
    // Any kind will do for who asks for none.
    for role in role == .system ? [role, .contiguous, .other, .protected] : [role] {
      if let heap = candidates(role).first(where: { $0.name == name }) { return [heap] }
    }
    // A second name of the same memory, opened for this request: names come from clients, and are not kept.
    guard chosen == nil, let entry = catalog.heaps().first(where: { $0.name == name }),
      role == .system || entry.role == role
    else { return [] }
    return [HeapCandidate(name, entry, in: catalog)]
  }

  private func names(_ role: HeapRole, _ entries: [HeapEntry]) -> [String] {
    guard let chosen else { return catalog.names(of: role) }
    return chosen.filter { name in
      let entry = entries.first { $0.name == name }
      // One that is not what its name says has to say so.
      if entry?.disguise != nil { return true }
      let known = entry?.role ?? catalog.role(named: name)
      // What is not known to be something else may be what its user knows it to be.
      return role == .system ? known != .protected : known == role || known == .other
    }
  }

  /// Closes all that is open: it is opened again when it is needed.
  func close() { snapshot.withLock { $0 = nil } }
}

extension HeapDevices.Snapshot {
  init(of path: String) {
    // Before the directory is read: what changes meanwhile has another stamp.
    directory = try? SharedFD(.open(path, O_RDONLY | O_DIRECTORY))
    stamp = directory.flatMap { DirectoryStamp($0.fd) }.flatMap { $0.isSettled ? $0 : nil }
  }

  subscript(role: HeapRole) -> [HeapCandidate]? {
    candidates.first { $0.role == role }?.heaps
  }

  /// Heaps that can serve, where that was asked just before.
  func recent(_ role: HeapRole, at now: MonotonicTime) -> [HeapCandidate]? {
    guard stamp != nil, now.nanoseconds - asked.nanoseconds < 20_000_000,
      let heaps = self[role], !heaps.isEmpty
    else { return nil }
    return heaps
  }

  var isCurrent: Bool {
    stamp != nil && directory.flatMap { DirectoryStamp($0.fd) } == stamp
  }
}

/// A directory's last change (`st_mtim`, stat(2)).
private struct DirectoryStamp: Equatable {
  private let change: timespec

  /// Nil where the directory has been removed.
  init?(_ directory: borrowing OwnedFD) {
    guard let status = try? directory.status(), status.st_nlink > 0 else { return nil }
    change = status.st_mtim
  }

  /// Whether another change would give another stamp: the kernel's clock for them ticks every few milliseconds.
  var isSettled: Bool {
    var now = timespec()
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec - change.tv_sec >= 2
  }

  static func == (one: Self, other: Self) -> Bool {
    one.change.tv_sec == other.change.tv_sec && one.change.tv_nsec == other.change.tv_nsec
  }
}
