internal import CLibrary
internal import CLinuxHeaps
internal import LinuxHeaps
internal import Synchronization
internal import SystemPackage

/// What the event loop is told, by other threads and by what it does itself.
enum Message: Sendable {
  case allocated(Allocation)
  case reported(Report)
  /// A worker has closed the parents of the buffer at that place.
  case closed(Int)
  /// The manager has heard that it should let go of the buffer's at that place.
  case dropped(Int)
  /// Closes of dma-bufs are heard from now on, or the reason why not.
  case attached(HeapError?)
  case detached
  /// A search for the holders of deleted buffers has ended.
  case searched([HolderSearch.Found])
  case reload(Policy)
  case stop
}

/// Messages to the event loop, oldest first.
final class Mailbox: Sendable {
  private struct State {
    var messages: [Message] = []
    var reader: UInt?
    var isClosed = false
  }

  private let state = Guarded(State())
  private let isFull = Atomic(false)
  private let wakeUp: WakeUp

  init() throws(Errno) { wakeUp = try WakeUp() }

  /// Readable when there is a message from another thread.
  var descriptor: CInt { wakeUp.descriptor }

  /// Names the reader: what it posts itself it need not be woken for.
  func isReadHere() { state.withLock { $0.reader = CLinuxHeaps_this_thread() } }

  func post(_ message: Message) {
    let wakes = state.withLock { state in
      if state.isClosed { return false }
      state.messages.append(message)
      isFull.store(true, ordering: .releasing)
      return state.messages.count == 1 && state.reader != CLinuxHeaps_this_thread()
    }
    if wakes { wakeUp.signal() }
  }

  func clear() { wakeUp.clear() }

  /// Asked several times in a turn of the loop.
  var hasMail: Bool { isFull.load(ordering: .acquiring) }

  /// Takes all messages, so that they can be answered by more; `messages`, which is empty, lends its room.
  func take(into messages: inout [Message]) {
    state.withLock { state in
      swap(&state.messages, &messages)
      isFull.store(false, ordering: .relaxed)
    }
  }

  /// Drops all messages, also those still to come: nobody reads any more.
  func close() {
    let rest = state.withLock { state in
      state.isClosed = true
      defer { state.messages = [] }
      return state.messages
    }
    withExtendedLifetime(rest) {}
  }
}
