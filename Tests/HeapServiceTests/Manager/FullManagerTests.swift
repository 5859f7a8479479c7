import CLinuxHeaps
import Glibc
import HeapClient
import LinuxHeaps
import SystemPackage
import TestSupport
import Testing

/// `NOTIFY_SOCKET` is every local user's to write to.
@Suite struct FullManagerTests {
  @Test func `a manager's socket that others have filled keeps nobody waiting`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/notify"
    let manager = try SocketFile.bound(path, SOCK_DGRAM)
    let other = try SocketFile.connected(path, SOCK_DGRAM)
    let byte: [UInt8] = [0]
    while unsafe CLinuxHeaps_send_now(other.rawValue, byte, 1) == 1 {}
    let daemon = try Daemon(environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": "100000"])
    let heap = try RemoteHeap(socket: daemon.socket)
    _ = try heap.allocate(byteCount: pageSize)
    // What the server has to tell is told once there is room.
    var told: Set<String> = []
    let isTold = eventually {
      var bytes = [UInt8](repeating: 0, count: 256)
      while true {
        let length = unsafe recv(manager.rawValue, &bytes, bytes.count, CInt(MSG_DONTWAIT))
        if length < 0 { break }
        told.insert(String(decoding: bytes.prefix(length), as: UTF8.self))
      }
      return told.isSuperset(of: ["READY=1", "WATCHDOG=1"])
    }
    #expect(isTold, "\(told)")
  }

  @Test(arguments: ["18446744073709552", "18446744073709551615"])
  func `a watchdog of for ever is none`(_ microseconds: String) throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/notify"
    let manager = try SocketFile.bound(path, SOCK_DGRAM)
    let daemon = try Daemon(environment: ["NOTIFY_SOCKET": path, "WATCHDOG_USEC": microseconds])
    _ = try RemoteHeap(socket: daemon.socket).allocate(byteCount: pageSize)
    #expect(daemon.stop() == 0)
    withExtendedLifetime(manager) {}
  }
}
