import Glibc
import Testing

@testable import HeapTestKit

@Suite struct PeerTests {
  @Test(arguments: [SIGINT, SIGHUP, SIGTERM])
  func `a signal that a whole group gets leaves a peer`(_ signal: CInt) throws {
    let peer = try Peer()
    let process = try peer.process
    try #require(kill(process, signal) == 0)
    #expect(try peer.process == process)
  }
}
