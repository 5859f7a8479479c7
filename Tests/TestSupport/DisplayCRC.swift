internal import Glibc
package import LinuxHeaps
package import SystemPackage

/// What vkms says of the pictures that it composes: a checksum of each (drm-uapi, "CRC ABI").
package struct DisplayCRC: ~Copyable {
  private let data: OwnedFD

  /// Of a device's first CRTC, which must show something already; needs root and debugfs.
  package init(of device: String) throws(HeapError) {
    let crc = Self.folder(of: device) + "/crc"
    data = try attempt("read the CRC of a display", at: crc) { () throws(Errno) in
      try OwnedFD.open(crc + "/control", O_WRONLY).write(Array("auto".utf8))
      return try .open(crc + "/data", O_RDONLY)
    }
  }

  /// The checksum of a picture that was composed after this call.
  package func next() throws(Errno) -> String {
    let number = data.rawValue
    // Those that wait were made before; of what comes then the first can be half done.
    for _ in 0..<2 { _ = try line(number) }
    while try isWaiting(number) { _ = try line(number) }
    _ = try line(number)
    return try line(number)
  }

  /// The checksums of all pictures that are composed until `isOver`.
  package func all(until isOver: () -> Bool) throws(Errno) -> Set<String> {
    var sums: Set<String> = []
    while !isOver() {
      if try isWaiting(data.rawValue, milliseconds: 10) { sums.insert(try line(data.rawValue)) }
    }
    // What was composed before the end still waits to be read.
    while try isWaiting(data.rawValue) { sums.insert(try line(data.rawValue)) }
    return sums
  }

  private func isWaiting(_ number: CInt, milliseconds: CInt = 0) throws(Errno) -> Bool {
    var waited = pollfd(fd: number, events: Int16(POLLIN), revents: 0)
    return try call { unsafe poll(&waited, 1, milliseconds) } > 0
  }

  /// One read(2) gives one line: the frame's number and its checksum.
  private func line(_ number: CInt) throws(Errno) -> String {
    var bytes = [UInt8](repeating: 0, count: 256)
    let count = try call { unsafe read(number, &bytes, 256) }
    let words = String(decoding: bytes[..<count], as: UTF8.self).split { $0 == " " || $0 == "\n" }
    return words.count > 1 ? String(words[1]) : ""
  }

  /// `/dev/dri/card1` is the DRM minor 1.
  private static func folder(of device: String) -> String {
    "/sys/kernel/debug/dri/\(device.drop { !$0.isNumber })/crtc-0"
  }
}
