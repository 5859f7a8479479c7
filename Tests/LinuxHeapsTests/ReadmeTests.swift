import Foundation
import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct ReadmeTests {
  /// The README's example, line for line.
  private func example() async throws {
    // begin
    let heap = MemfdHeap()  // or DMABufHeap(), UDMABufHeap(), OpaqueHeap()
    let vmo = try heap.allocate(byteCount: 1 << 20)  // contiguous: true, where a device needs that

    // Mapped as long as the call lasts, between the two calls of DMA_BUF_IOCTL_SYNC.
    try vmo.withMutableBytes { bytes in bytes[0] = 42 }
    let isPainted = try vmo.withBytes { bytes in bytes[0] == 42 }
    let copy = try vmo.copyBytes(0..<16)  // where others can write: read once, then checked

    // Both ends are in this process; two processes use MessageListener(at:) and MessageSocket(connectedTo:).
    let sockets = try MessageSocket.Pair()
    try sockets.near.send(try vmo.slice(offset: 0, byteCount: pageSize))
    if let received = try sockets.far.receiveVMO() {
      print(received.byteCount)  // closed with its scope: delete() would wait for it
    }

    try await heap.delete(vmo)  // returns when the last handle, mapping and import is gone
    // end
    #expect(isPainted && copy == [42] + [UInt8](repeating: 0, count: 15))
  }

  @Test(.timeLimit(.minutes(1)))
  func `the example works`() async throws { try await example() }

  @Test(arguments: [
    "Tests/LinuxHeapsTests/ReadmeTests.swift", "Examples/BoardTest/BoardTests.swift",
  ])
  func `the README shows the examples as they are`(_ file: String) throws {
    let source = try Readme.file(file)
    let lines = source.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let begin = try #require(lines.firstIndex { $0.hasSuffix("// begin") })
    let end = try #require(lines.firstIndex { $0.hasSuffix("// end") })
    let indent = lines[begin].prefix { $0 == " " }.count
    let example = lines[begin + 1..<end].map { String($0.dropFirst(indent)) }
    #expect(try Readme.text.contains("```swift\n\(example.joined(separator: "\n"))\n```"))
  }

  @Test(arguments: ["c", "cpp"]) func `the README shows the services in C and C++`(
    _ language: String
  ) throws {
    let source = try Readme.file("Examples/C/service.\(language)")
    #expect(source.split(separator: "\n", omittingEmptySubsequences: false).count <= 101)
    #expect(try Readme.text.contains("```\(language)\n\(source)```"))
  }

  @Test func `its make commands are targets`() throws {
    let makefile = try Readme.file("Makefile")
    let targets = try Readme.commands.filter { $0.hasPrefix("make ") }
      .compactMap { $0.split(separator: " ").dropFirst().first }
    #expect(targets.count >= 3)
    for target in targets { #expect(makefile.contains("\n\(target): ")) }
  }
}
