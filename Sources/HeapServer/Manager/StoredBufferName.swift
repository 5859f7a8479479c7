internal import Glibc
internal import LinuxHeaps

/// What a parent is called in the service manager's store: all that the next server has to know of it.
///
/// `b COLLECTION.INDEX USER HEAP`, the numbers in base 36: at most 38 bytes and the heap's name, which
/// is left out where it does not fit or is not ASCII.
///
/// The manager hands over all names in one environment variable, which the kernel limits to 128 KiB
/// (execve(2)); beyond that the service cannot start, and the manager drops the store. Clients choose the
/// numbers. At this length the unit's 2048 fit.
struct StoredBufferName: Hashable, Sendable {
  let key: BufferKey
  let user: uid_t
  let heap: String

  static let longest = 62

  var description: String {
    let start =
      "b \(String(key.bufferCollectionID, radix: 36)).\(String(key.bufferIndex, radix: 36))"
      + " \(String(user, radix: 36)) "
    let isPlain = heap.utf8.allSatisfy { (0x20...0x7e).contains($0) && $0 != UInt8(ascii: ":") }
    return isPlain && start.utf8.count + heap.utf8.count <= Self.longest ? start + heap : start
  }

  init(key: BufferKey, user: uid_t, heap: String) {
    self.key = key
    self.user = user
    self.heap = heap
  }

  /// Nil for a name of another form.
  init?(parsing text: String) {
    let parts = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "b",
      let key = BufferKey(parsing: "lh:\(parts[1])"), let user = uid_t(parts[2], radix: 36)
    else { return nil }
    self.init(key: key, user: user, heap: String(parts[3]))
    // One buffer, one spelling: by another the manager could not be told to let go of it.
    guard description == text else { return nil }
  }
}
