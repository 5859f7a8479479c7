internal import CDRM
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// When a picture came on the screen.
public struct FlipEvent: Hashable, Sendable {
  /// The number of the vertical blank; it wraps.
  public let sequence: UInt32
  /// Of CLOCK_MONOTONIC (`DRM_CAP_TIMESTAMP_MONOTONIC`).
  public let time: Duration
}

extension DRMFile {
  /// The next flip's event; nil when the time is over.
  func nextFlip(within patience: Duration?) throws(Errno) -> FlipEvent? {
    let deadline = patience.map { MonotonicTime.now.advanced(by: $0) }
    while true {
      let timeout = deadline?.millisecondsFromNow ?? -1
      var waited = pollfd(fd: fd.rawValue, events: Int16(POLLIN), revents: 0)
      if try call({ unsafe poll(&waited, 1, timeout) }) == 0 { return nil }
      if let event = try readEvents() { return event }
    }
  }

  /// One read(2) gives whole events only (drm_read).
  private func readEvents() throws(Errno) -> FlipEvent? {
    var words = [UInt32](repeating: 0, count: 1024)
    let capacity = words.count * 4
    let count = try call { unsafe read(fd.rawValue, &words, capacity) } / 4
    var flip: FlipEvent?
    var rest = words[..<count]
    // struct drm_event_vblank: type, length, user data (2), seconds, microseconds, sequence, CRTC.
    while rest.count >= 2, let type = rest.first {
      let length = Int(rest[rest.startIndex + 1]) / 4
      let event = Array(rest.prefix(length))
      if type == UInt32(DRM_EVENT_FLIP_COMPLETE), event.count >= 8 {
        flip = FlipEvent(
          sequence: event[6],
          time: .seconds(Int64(event[4])) + .microseconds(Int64(event[5])))
      }
      rest = rest.dropFirst(max(2, length))
    }
    return flip
  }
}
