import LinuxHeaps
import Testing

@testable import HeapServer

@Suite struct `Names in the store` {
  static let most = BufferKey(bufferCollectionID: .max, bufferIndex: .max)

  @Test(
    arguments: [
      (BufferKey(bufferCollectionID: 0, bufferIndex: 0), 0, "system"),
      (BufferKey(bufferCollectionID: 0x1122, bufferIndex: 3), 1000, "default_cma_region"),
      (most, .max, String(repeating: "h", count: 24)),
      (most, .max, ""),
    ] as [(BufferKey, UInt32, String)])
  func `a name is read as it was written`(key: BufferKey, user: UInt32, heap: String) {
    let name = StoredBufferName(key: key, user: user, heap: heap)
    #expect(StoredBufferName(parsing: name.description) == name)
  }

  @Test(arguments: [String(repeating: "h", count: 25), "linux,cma:0", "Häufen", "a\tb"])
  func `a heap's name that does not fit is left out`(heap: String) {
    let name = StoredBufferName(key: Self.most, user: .max, heap: heap)
    #expect(
      StoredBufferName(parsing: name.description)
        == StoredBufferName(key: Self.most, user: .max, heap: ""))
  }

  /// `LISTEN_FDNAMES` with its own name, the sockets', the colons and the NUL (execve(2)).
  @Test func `two thousand of the longest fit into an environment variable`() {
    let longest = StoredBufferName(
      key: Self.most, user: .max, heap: String(repeating: "h", count: 24))
    let sockets = ["heap", "observer", "metrics"]
    let names = sockets + Array(repeating: longest.description, count: 2048)
    let variable = "LISTEN_FDNAMES=" + names.joined(separator: ":")
    #expect(longest.description.utf8.count == StoredBufferName.longest)
    #expect(variable.utf8.count < 128 << 10)
  }
}
