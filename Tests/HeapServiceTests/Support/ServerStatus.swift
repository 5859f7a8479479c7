import Foundation
import Glibc
import HeapClient
import HeapProtocol
import LinuxHeaps

/// What GetStatus tells, as far as tests look at it.
struct ServerStatus: Decodable {
  struct Quota: Decodable, Equatable {
    let buffers: Int
    let bytes: UInt64
    let maxBuffers: Int
    let maxBytes: UInt64
  }

  struct Connection: Decodable {
    let id: Int
    let `protocol`: String
    let user: UInt32
    let process: Int32
    let requests: Int
    let waits: Int
    let quota: Quota
  }

  struct User: Decodable {
    let user: UInt32
    let connections: Int
    let quota: Quota
  }

  struct Buffer: Decodable {
    let collection: UInt64
    let index: UInt64
    let bytes: UInt64
    let heap: String
    let user: UInt32
    let process: Int32?
    let orphan: Bool
  }

  let schemaVersion: Int
  let heap: String
  let quota: Quota
  let users: [User]
  let connections: [Connection]
  let buffers: [Buffer]
  let orphans: Int

  init(of heap: RemoteHeap) throws { self = try Self.decode(Data(try heap.status().utf8)) }

  fileprivate static func decode(_ text: Data) throws -> Self {
    try JSONDecoder().decode(Self.self, from: text)
  }
}

extension WireClient {
  func status() throws -> ServerStatus {
    let reply = try ask { GetStatusRequest().encode(transactionID: $0, into: &$1) }
    guard case .success(let report) = reply.decode(GetStatusReply.self)?.result else {
      throw Unexpected("GetStatus's answer", reply)
    }
    var text = [UInt8](repeating: 0, count: Int(report.size))
    // The reply owns the descriptor, and an optimised build ends its life after its last use.
    let count = withExtendedLifetime(reply) {
      unsafe pread(reply.handles[0].fd.rawValue, &text, text.count, 0)
    }
    return try .decode(Data(text.prefix(max(count, 0))))
  }
}
