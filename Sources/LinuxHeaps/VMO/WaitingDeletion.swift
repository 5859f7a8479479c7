internal import CLibrary
internal import Logging
internal import Synchronization
internal import SystemPackage

/// What the log is told of a deletion that waits for this process itself: for ever, where the task that waits is the one that
/// holds the buffer.
package enum WaitingDeletion {
  /// Set by who deletes in one task and lets go in another, and takes its time.
  @TaskLocal package static var isExpected = false
  /// Of the whole process. While there is none no deletion can wait for one.
  static let liveMappings = Atomic<Int>(0)
  private static let log = Logger(label: "LinuxHeaps.deleteVmo")

  /// Tells the log in a second, unless it is cancelled before; nil where no thread can be had for that.
  static func notice(
    _ key: BufferKey, ifStill isHeldHere: @escaping @Sendable () -> Bool
  ) -> Notice? {
    if isExpected { return nil }
    return try? Notice {
      guard isHeldHere() else { return }
      log.warning(
        """
        deleteVmo waits for handles or mappings of the buffer in this process: close them, and unmap \
        (Mapping.unmap()), before it is deleted
        """,
        metadata: [
          "collection": "\(key.bufferCollectionID)", "index": "\(key.bufferIndex)",
        ])
    }
  }

  /// Of another process's buffer, whose handles here nobody counts; nil where this process maps none.
  package static func notice(_ key: BufferKey, mapped identity: VMOIdentity) -> Notice? {
    if liveMappings.load(ordering: .relaxed) == 0 { return nil }
    return notice(key) { isMapped(identity) }
  }

  /// Something that is done in a second, on a thread of its own: a task that sleeps would have every program carry libdispatch.
  package final class Notice: Sendable {
    private let end: WakeUp

    fileprivate init(_ action: @escaping @Sendable () -> Void) throws(Errno) {
      end = try WakeUp()
      try KernelThread.start("heap-notice") { [self] in
        var wait = pollfd(fd: end.descriptor, events: Int16(POLLIN), revents: 0)
        if unsafe poll(&wait, 1, 1_000) == 0 { action() }
      }
    }

    package func cancel() { end.signal() }
  }

  private static func isMapped(_ identity: VMOIdentity) -> Bool {
    guard let maps = try? SmallFile.readAll("/proc/self/maps") else { return false }
    // "ADDRESSES PERMISSIONS OFFSET MAJOR:MINOR INODE PATH" (proc(5)).
    return maps.lines.contains { line in
      let fields = line.split(separator: " ")
      guard fields.count > 4, UInt64(fields[4]) == identity.inode, fields[3].hasPrefix("00:"),
        let minor = UInt64(fields[3].dropFirst(3), radix: 16)
      else { return false }
      // As glibc composes `st_dev` (makedev(3)) of major 0, that of all file systems without a device.
      return minor & 0xff | (minor & ~0xff) << 12 == identity.device
    }
  }
}
