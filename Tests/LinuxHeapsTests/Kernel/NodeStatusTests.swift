import Glibc
import SystemPackage
import Testing

@testable import LinuxHeaps

@Suite struct NodeStatusTests {
  @Test func `a device node has a number, and who may open it`() throws {
    let node = try #require(NodeStatus("/dev/null"))
    // Documentation/admin-guide/devices.txt: 1, 3 is the null device.
    #expect(node.device == 0x103)
    #expect(node.mode & 0o666 == 0o666)
    #expect(node.isUsable)
    #expect(node.description == "\(node.owner):\(node.group) 0666")
  }

  @Test(arguments: [("/dev/null", "/dev/zero"), ("/dev/zero", "/dev/full")])
  func `two devices have two numbers`(_ one: String, _ other: String) throws {
    let devices = [try #require(NodeStatus(one)).device, try #require(NodeStatus(other)).device]
    #expect(devices[0] != devices[1])
  }

  @Test func `a symbolic link is what it points to`() throws {
    let directory = try TemporaryDirectory()
    try directory.link("alias", to: "/dev/null")
    #expect(NodeStatus("\(directory.path)/alias") == NodeStatus("/dev/null"))
  }

  @Test(arguments: ["/dev/no-such-node", "/nonexistent/node", ""])
  func `a missing node has no status`(_ path: String) {
    #expect(NodeStatus(path) == nil)
  }

  @Test(arguments: [
    (0o600, "0600"), (0o004, "0004"), (0o660, "0660"), (0o4755, "4755"), (0, "0000"),
  ])
  func `the mode is told in four octal digits`(_ mode: mode_t, _ text: String) throws {
    let directory = try TemporaryDirectory()
    try directory.file("node")
    let path = "\(directory.path)/node"
    _ = try call { unsafe chmod(path, mode) }
    let node = try #require(NodeStatus(path))
    #expect(node.mode == mode)
    #expect(node.description.hasSuffix(" " + text))
  }

  // A container's root may belong to other names, but the numbers are told in any case.
  @Test func `owner and group have names`() throws {
    let directory = try TemporaryDirectory()
    try directory.file("node")
    let path = "\(directory.path)/node"
    let node = try #require(NodeStatus(path))
    let user = unsafe getpwuid(getuid())
    let name = unsafe user.map { unsafe String(cString: $0.pointee.pw_name) }
    #expect(node.owner == name ?? "\(getuid())")
    #expect(!node.group.isEmpty)
  }

  @Test(.enabled(if: geteuid() == 0, "needs root to give a file away"))
  func `an owner without a name is told by number`() throws {
    let directory = try TemporaryDirectory()
    try directory.file("node")
    let path = "\(directory.path)/node"
    _ = try call { unsafe chown(path, 3_999_999, 3_999_998) }
    let node = try #require(NodeStatus(path))
    #expect(node.owner == "3999999")
    #expect(node.group == "3999998")
  }
}
