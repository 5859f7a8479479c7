import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

@testable import LinuxHeapsDRM

@Suite(.serialized, .enabled(if: TestDevice.hasDisplay, "needs vkms"))
struct RestoredDisplayTests {
  /// As a program that shows a picture and lets others have the display: a console, a boot screen.
  @Test func `what was on the screen before comes back`() throws {
    let earlier = try TestDevice.open("vkms")
    let later = try TestDevice.open("vkms")
    let connector = try #require(try earlier.connectors().first { !$0.modes.isEmpty })
    let mode = try #require(connector.modes.first { $0.size.width == 640 })
    let layout = try ImageLayout(.xr24, size: mode.size)
    let heap = TestHeaps.make(try #require(TestHeaps.dmaBufs.first))
    let bars = try heap.buffer(layout.byteCount)
    let gradient = try heap.buffer(layout.byteCount, index: 1)
    try bars.paint(.bars, layout)
    try gradient.paint(.gradient, layout)

    let picture = try earlier.framebuffer(of: bars, layout)
    let crtc = try #require(try earlier.file.resources().crtcs.first)
    try showForAWhile(picture, crtc, connector, mode)
    let before = try DisplayCRC(of: later.path).next()
    var scanout = try Scanout(later, connector: connector, mode: mode)
    try scanout.show(try later.framebuffer(of: gradient, layout))
    #expect(try DisplayCRC(of: later.path).next() != before)
    _ = consume scanout
    #expect(try DisplayCRC(of: later.path).next() == before)

    // What its owner took away meanwhile cannot come back: the screen is turned off.
    let state = try later.file.asMasterIfPossible { () throws(Errno) in
      try DisplayState(of: crtc, in: later.file)
    }
    _ = consume picture
    try later.file.asMasterIfPossible { () throws(Errno) in state.restore(crtc, in: later.file) }
    #expect(try later.connectors().allSatisfy { !$0.isOn })
  }

  private func showForAWhile(
    _ picture: Framebuffer, _ crtc: UInt32, _ connector: Connector, _ mode: DisplayMode
  ) throws {
    let claim = try DisplayClaim(picture.file, "show a picture")
    try picture.file.setCRTC(crtc, picture.id, connectors: [connector.id], mode: mode.info)
    _ = consume claim
  }
}
