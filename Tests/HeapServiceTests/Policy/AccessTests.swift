import LinuxHeaps
import TestSupport
import Testing

@Suite(.enabled(if: TestUser.isRoot, "needs root, to connect as others"))
struct AccessTests {
  @Test func `a user that is not on the list gets an epitaph`() throws {
    let daemon = try Daemon(
      configuration: "allow-users = \(TestUser.first.user)\n", arguments: ["--mode", "0666"],
      openFolder: true)
    #expect(try WireClient.heap(daemon, as: .first).refusal() == nil)
    #expect(try WireClient(to: daemon.socket, as: .second).epitaph() == .accessDenied)
    #expect(try WireClient(to: daemon.observer, as: .second).epitaph() == .accessDenied)
    try daemon.expectLog("client refused", "user=\(TestUser.second.user)")
    // The server's own user is never kept out.
    #expect(try WireClient.heap(daemon).refusal() == nil)
  }

  @Test func `one group of a user is enough, also a supplementary one`() throws {
    let group: UInt32 = 54_400
    let daemon = try Daemon(
      configuration: "allow-groups = \(group)\n", arguments: ["--mode", "0666"], openFolder: true)
    var member = TestUser.first
    member.supplementaryGroups = [54_399, group]
    #expect(try WireClient.heap(daemon, as: member).refusal() == nil)
    #expect(try WireClient(to: daemon.socket, as: .first).epitaph() == .accessDenied)
  }

  @Test func `the socket's mode comes first`() throws {
    let daemon = try Daemon(arguments: ["--mode", "0600"], openFolder: true)
    #expect(throws: (any Error).self) { try WireClient(to: daemon.socket, as: .first) }
  }
}
