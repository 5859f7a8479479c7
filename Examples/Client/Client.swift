// A client of heapd: `heap-client SOCKET`, e.g. /run/heapd/heap.sock.
import Glibc
import HeapClient
import LinuxHeaps

@main struct Client {
  static func main() async {
    let words = CommandLine.arguments
    guard words.count == 2 else {
      print("usage: heap-client SOCKET")
      exit(64)
    }
    do { try await use(words[1]) } catch {
      print("\(error)")  // the operation, the path, the cause and the fix
      exit(1)
    }
  }

  static func use(_ socket: String) async throws {
    let heap = try RemoteHeap(socket: socket, deadline: .seconds(10))
    let vmo = try heap.allocate(byteCount: 1 << 20)
    try vmo.withMutableBytes { bytes in
      for (offset, byte) in "written by a client".utf8.enumerated() { bytes[offset] = byte }
    }
    let text = try vmo.copyBytes(0..<19)
    print(
      "a \(vmo.kind.rawValue) of \(vmo.byteCount.asByteCount): \(String(decoding: text, as: UTF8.self))"
    )
    try await heap.delete(vmo)
    print("given back")
  }
}
