import Foundation
import HeapClient

/// What heapd tells of itself, as far as these tests look.
struct HeapdStatus: Decodable {
  struct Share: Decodable {
    let buffers: Int
    let bytes: UInt64
  }

  struct User: Decodable {
    let user: UInt32
    let quota: Share
  }

  struct Connection: Decodable { let id: UInt64 }

  struct Buffer: Decodable {
    let collection: UInt64
    let index: UInt64
    let bytes: UInt64
    let heap: String
    let user: UInt32
    let orphan: Bool
  }

  let quota: Share
  let users: [User]
  let connections: [Connection]
  let buffers: [Buffer]
  let orphans: Int

  init(of heap: RemoteHeap) throws {
    self = try JSONDecoder().decode(HeapdStatus.self, from: Data(try heap.status().utf8))
  }
}
