internal import CDRM
internal import Glibc
package import LinuxHeaps
package import SystemPackage

/// What vkms says of the pictures that it composes: a checksum of each (drm-uapi, "CRC ABI").
package struct DisplayCRC: ~Copyable {
  private let device: String
  private let data: OwnedFD

  /// Of a device's first CRTC, which must show something already; needs root and debugfs.
  package init(of device: String) throws(HeapError) {
    let crc = Self.folder(of: device) + "/crc"
    // Both are stored last, for Swift 6.2.3's sake.
    let data = try attempt("read the CRC of a display", at: crc) { () throws(Errno) in
      try OwnedFD.open(crc + "/control", O_WRONLY).write(Array("auto".utf8))
      return try OwnedFD.open(crc + "/data", O_RDONLY)
    }
    self.device = device
    self.data = data
  }

  /// The checksum of a picture that was composed after this call.
  ///
  /// vkms composes on a work queue: where it is late, it tells of all frames that it missed in one go, with the checksum of what was shown
  /// when they were due, and that can be after another picture was flipped to (vkms_composer_worker, Linux 6.12 and 7.3). A frame's number
  /// is the vertical blank's at which its composing was asked for, so one later than now shows what is shown now.
  package func next() throws(Errno) -> String {
    let now = try frame()
    while true {
      let (frame, sum) = try line()
      if frame > now { return sum }
    }
  }

  /// Of the last vertical blank.
  private func frame() throws(Errno) -> UInt64 {
    let card = try OwnedFD.open(device, O_RDWR)
    guard let resources = unsafe drmModeGetResources(card.rawValue) else {
      throw .init(rawValue: errno)
    }
    defer { unsafe drmModeFreeResources(resources) }
    var frame: UInt64 = 0
    _ = try call {
      unsafe drmCrtcGetSequence(card.rawValue, resources.pointee.crtcs[0], &frame, nil)
    }
    return frame
  }

  /// The checksums of all pictures that are composed until `isOver`.
  package func all(until isOver: () -> Bool) throws(Errno) -> Set<String> {
    var sums: Set<String> = []
    while !isOver() {
      if try isWaiting(data.rawValue, milliseconds: 10) { sums.insert(try line().sum) }
    }
    // What was composed before the end still waits to be read.
    while try isWaiting(data.rawValue) { sums.insert(try line().sum) }
    return sums
  }

  private func isWaiting(_ number: CInt, milliseconds: CInt = 0) throws(Errno) -> Bool {
    var waited = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    return try call { unsafe poll(&waited, 1, milliseconds) } > 0
  }

  /// One read(2) gives one line, and a NUL: the frame's number and its checksum.
  private func line() throws(Errno) -> (frame: UInt64, sum: String) {
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = try call { unsafe read(data.rawValue, &bytes, 256) }
    let words = String(decoding: bytes[..<count], as: UTF8.self).split { " \n\0".contains($0) }
    guard words.count == 2, let frame = UInt64(words[0].dropFirst(2), radix: 16) else {
      throw .badMessage
    }
    return (frame, String(words[1]))
  }

  /// `/dev/dri/card1` is the DRM minor 1.
  private static func folder(of device: String) -> String {
    "/sys/kernel/debug/dri/\(device.drop { !$0.isNumber })/crtc-0"
  }
}
