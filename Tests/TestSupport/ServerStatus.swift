import Foundation
import Glibc
package import HeapClient
import HeapProtocol
import LinuxHeaps

/// What GetStatus tells, as far as tests look at it.
package struct ServerStatus: Decodable {
  package struct Quota: Decodable, Equatable {
    package let buffers: Int
    package let bytes: UInt64
    package let maxBuffers: Int
    package let maxBytes: UInt64
  }

  package struct Connection: Decodable {
    package let id: Int
    package let `protocol`: String
    package let user: UInt32
    package let process: Int32
    package let requests: Int
    package let waits: Int
    package let quota: Quota
  }

  package struct User: Decodable {
    package let user: UInt32
    package let connections: Int
    package let quota: Quota
  }

  package struct Buffer: Decodable {
    package let collection: UInt64
    package let index: UInt64
    package let bytes: UInt64
    package let heap: String
    package let user: UInt32
    package let process: Int32?
    package let orphan: Bool
  }

  package struct Reclaimer: Decodable {
    package let wakeups: Int
    package let checks: Int
  }

  package struct Pool: Decodable {
    package let ready: Int
    package let bytes: UInt64
    package let hits: Int
    package let misses: Int
  }

  package let schemaVersion: Int
  package let heap: String
  package let quota: Quota
  package let groupQuota, othersQuota: Quota
  package let users: [User]
  package let connections: [Connection]
  package let buffers: [Buffer]
  package let orphans: Int
  package let unclosed: Int
  package let reclaimer: Reclaimer
  /// Nil where there is none.
  package let pool: Pool?

  /// Nobody else is connected, or was a moment ago.
  package func isAlone(_ count: Int) -> Bool { connections.count == count && unclosed == 0 }

  package init(of heap: RemoteHeap) throws { self = try Self.decode(Data(try heap.status().utf8)) }

  fileprivate static func decode(_ text: Data) throws -> Self {
    try JSONDecoder().decode(Self.self, from: text)
  }
}

extension WireClient {
  package func status() throws -> ServerStatus {
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
