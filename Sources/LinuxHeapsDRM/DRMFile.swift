internal import CDRM
internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// A DRM node that this process opened, and the buffer handles that the kernel counts by open file.
final class DRMFile: Sendable {
  let fd: OwnedFD
  let path: String
  /// How many owners each handle has here. The kernel answers every import of one buffer with the same
  /// handle and does not count: the first close would take it from all (xf86drm.h, drmPrimeFDToHandle).
  private let owners = Guarded<[UInt32: Int]>([:])
  private let display = Guarded(false)

  init(_ path: String) throws(Errno) {
    fd = try .open(path, O_RDWR)
    self.path = path
    // The first to open a primary node becomes its master and keeps all others from the display. Who
    // only imports has no use for that; a scan-out asks for it. The kernel refuses this to other files.
    _ = drmDropMaster(fd.rawValue)
  }

  func importBuffer(_ descriptor: CInt) throws(Errno) -> UInt32 {
    try owners.withLock { owners throws(Errno) in
      var handle: UInt32 = 0
      try drmCall { unsafe drmPrimeFDToHandle(fd.rawValue, descriptor, &handle) }
      owners[handle, default: 0] += 1
      return handle
    }
  }

  /// Takes a handle over that is new in this file.
  func adopt(_ handle: UInt32) { owners.withLock { $0[handle, default: 0] += 1 } }

  func close(_ handle: UInt32) {
    owners.withLock { owners in
      let left = owners[handle, default: 1] - 1
      owners[handle] = left == 0 ? nil : left
      if left == 0 { _ = drmCloseBufferHandle(fd.rawValue, handle) }
    }
  }

  /// Whether the caller has the file's display to itself now; the file's events are one stream.
  func takeDisplay() -> Bool {
    display.withLock { isTaken in
      defer { isTaken = true }
      return !isTaken
    }
  }

  func returnDisplay() { display.withLock { $0 = false } }

  /// As the display's master where that can be had: the kernel probes connectors for nobody else
  /// (drm_mode_getconnector), who sees what the last probe found.
  func asMasterIfPossible<Result, Failure: Error>(
    _ body: () throws(Failure) -> Result
  ) throws(Failure) -> Result {
    guard takeDisplay() else { return try body() }
    let isMaster = drmSetMaster(fd.rawValue) == 0
    defer {
      if isMaster { _ = drmDropMaster(fd.rawValue) }
      returnDisplay()
    }
    return try body()
  }

  func capability(_ number: Int32) -> UInt64? {
    var value: UInt64 = 0
    return unsafe drmGetCap(fd.rawValue, UInt64(number), &value) == 0 ? value : nil
  }

  var driver: String? {
    guard let version = unsafe drmGetVersion(fd.rawValue) else { return nil }
    defer { unsafe drmFreeVersion(version) }
    return unsafe String(cString: version.pointee.name)
  }
}

/// Calls libdrm, which answers -1 with `errno` or, in its newer half, the negative number itself.
@discardableResult
func drmCall(_ body: () -> CInt) throws(Errno) -> CInt {
  let result = body()
  if result >= 0 { return result }
  throw Errno(rawValue: result == -1 ? errno : -result)
}
