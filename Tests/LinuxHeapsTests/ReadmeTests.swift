import Foundation
import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct ReadmeTests {
  /// The README's example, line for line.
  private func example() throws {
    // begin
    let heap = MemfdHeap()  // or DMABufHeap(), UDMABufHeap(), OpaqueHeap()
    let vmo = try heap.allocateVmo(
      size: 1 << 20, settings: SingleBufferSettings(), bufferCollectionID: 7, bufferIndex: 0)

    let slice = try vmo.slice(offset: pageSize, byteCount: pageSize)
    let mapping = try slice.map()
    var access = try mapping.writeAccess()  // DMA_BUF_IOCTL_SYNC; ends with its scope
    var bytes = access.mutableBytes
    bytes.storeBytes(of: 42, as: UInt8.self)
    try access.end()

    let sockets = try MessageSocket.Pair()
    try sockets.near.send(Array("a page at \(slice.offset)".utf8), passing: slice)
    // end
    guard let message = try sockets.far.receive() else { throw Errno.connectionReset }
    #expect(String(decoding: message.bytes, as: UTF8.self) == "a page at \(pageSize)")
    #expect(message.descriptors.count == 1)
  }

  @Test func `the example works`() throws { try example() }

  @Test func `the README shows the example as it is`() throws {
    let source = try String(contentsOfFile: #filePath, encoding: .utf8)
    let lines = source.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let begin = try #require(lines.firstIndex(of: "    // begin"))
    let end = try #require(lines.firstIndex(of: "    // end"))
    let example = lines[begin + 1..<end].map { String($0.dropFirst(4)) }
    #expect(try Readme.text.contains("```swift\n\(example.joined(separator: "\n"))\n```"))
  }

  @Test func `its make commands are targets`() throws {
    let makefile = try Readme.file("Makefile")
    let targets = try Readme.commands.filter { $0.hasPrefix("make ") }
      .compactMap { $0.split(separator: " ").dropFirst().first }
    #expect(targets.count >= 3)
    for target in targets { #expect(makefile.contains("\n\(target): ")) }
  }
}
