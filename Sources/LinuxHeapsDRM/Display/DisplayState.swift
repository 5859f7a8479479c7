internal import CDRM
internal import Glibc
internal import LinuxHeaps
internal import SystemPackage

/// What a CRTC showed before, to be shown again.
struct DisplayState: Sendable {
  private let framebuffer: UInt32
  private let x: UInt32
  private let y: UInt32
  private let mode: drmModeModeInfo?
  private let connectors: [UInt32]

  init(of crtc: UInt32, in file: DRMFile) throws(Errno) {
    guard let found = unsafe drmModeGetCrtc(file.fd.rawValue, crtc) else {
      throw Errno(rawValue: errno)
    }
    defer { unsafe drmModeFreeCrtc(found) }
    let state = unsafe found.pointee
    framebuffer = state.buffer_id
    x = state.x
    y = state.y
    mode = state.mode_valid != 0 ? state.mode : nil
    connectors = try file.resources().connectors.filter { file.connector($0)?.crtc == crtc }
  }

  /// Shows it again; where the picture is gone with its owner, turns the CRTC off.
  func restore(_ crtc: UInt32, in file: DRMFile) {
    if let mode, framebuffer != 0, !connectors.isEmpty {
      do throws(Errno) {
        try file.setCRTC(crtc, framebuffer, x: x, y: y, connectors: connectors, mode: mode)
        return
      } catch {}
    }
    _ = drmModeSetCrtc(file.fd.rawValue, crtc, 0, 0, 0, nil, 0, nil)
  }
}

extension DRMFile {
  func setCRTC(
    _ crtc: UInt32, _ framebuffer: UInt32, x: UInt32 = 0, y: UInt32 = 0, connectors: [UInt32],
    mode: drmModeModeInfo
  ) throws(Errno) {
    var (connectors, mode) = (connectors, mode)
    let count = CInt(connectors.count)
    try drmCall {
      unsafe drmModeSetCrtc(fd.rawValue, crtc, framebuffer, x, y, &connectors, count, &mode)
    }
  }
}
