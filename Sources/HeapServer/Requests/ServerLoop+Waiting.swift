internal import HeapProtocol
internal import LinuxHeaps

// Answers that wait for a buffer's end. They go with their connection, and not with the buffer, which may
// be held for ever.

/// Whom to answer when a buffer is reclaimed.
struct Waiting {
  let connection: UInt64
  let transaction: UInt32
  /// When DeleteVmo came; nil for AwaitReclaimed.
  let deletionBegan: MonotonicTime?
}

extension ServerLoop {
  func wait(
    for key: BufferKey, _ connection: Connection, _ transaction: UInt32,
    deletionBegan: MonotonicTime? = nil
  ) {
    connection.waits += 1
    connection.keysWaitedFor.insert(key)
    waiting[key, default: []].append(
      Waiting(
        connection: connection.id, transaction: transaction, deletionBegan: deletionBegan))
  }

  func answerWaiting(for key: BufferKey) {
    for waiting in waiting.removeValue(forKey: key) ?? [] {
      guard let connection = connections[waiting.connection] else { continue }
      connection.waits -= 1
      connection.keysWaitedFor.remove(key)
      if let began = waiting.deletionBegan {
        metrics.deleted(since: began)
        answerDeletion(connection, waiting.transaction)
      } else {
        AwaitReclaimedReply(.success(EmptyTable())).encode(
          transactionID: waiting.transaction, into: &output)
        send(to: connection)
      }
    }
  }

  func stopWaiting(_ connection: Connection) {
    for key in connection.keysWaitedFor {
      waiting[key]?.removeAll { $0.connection == connection.id }
      if waiting[key]?.isEmpty == true { waiting[key] = nil }
    }
  }
}
