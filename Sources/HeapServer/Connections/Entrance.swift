internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// The listening sockets, which all wait together where there is no room for who comes next: who that is, is unknown before
/// accept(2).
final class Entrance {
  private let listeners: [EventSource.Kind: Listener]
  private let shared: Shared
  private var isStopped = false

  init(_ shared: Shared, _ sockets: HeapServer.Sockets) throws(Errno) {
    self.shared = shared
    var listeners: [EventSource.Kind: Listener] = [
      .heapListener: sockets.heap, .observerListener: sockets.observer,
    ]
    listeners[.metricsListener] = sockets.metrics
    self.listeners = listeners
    for (kind, listener) in listeners {
      // Clients of the heap wait in connect(2). `RemoteHeap` asks the observer under a lock, and does not wait; no more does who reads
      // metrics.
      listener.setBacklog(kind == .heapListener ? 8 : 128)
      try shared.poller.add(listener.fd.rawValue, EventSource(kind))
    }
  }

  /// The next that wait at one of them: a few, because one in a turn waits for all that other clients ask in it, and because who waits in
  /// connect(2) for a place in the queue finds one sooner where several come free at once.
  func accept(at kind: EventSource.Kind, _ admit: (ClientSocket) -> Void) {
    for _ in 0..<4 {
      guard let socket = next(at: kind) else { return }
      admit(socket)
      if shared.disposer.isBehind { return pause() }
    }
  }

  /// Nil where nobody waits any more, or nobody can come in now.
  private func next(at kind: EventSource.Kind) -> ClientSocket? {
    do throws(Errno) { return try listeners[kind]?.accept(shared.disposer) } catch {
      // It stays in the queue, and the event would come for ever.
      pause()
      if error == .tooManyOpenFiles || error == .tooManyOpenFilesInSystem {
        shared.clientLog.note("no descriptor is left: clients wait", of: .max, at: .error, [:])
      }
      return nil
    }
  }

  func stop() {
    isStopped = true
    for listener in listeners.values { shared.poller.remove(listener.fd.rawValue) }
  }

  private func pause() {
    listen(false)
    shared.deadlines.set(.heldUpListeners, after: Disposer.pause)
  }

  func lookAgain() { if shared.disposer.isBehind { pause() } else { listen(true) } }

  private func listen(_ isReading: Bool) {
    if isStopped { return }
    for (kind, listener) in listeners {
      shared.poller.change(
        listener.fd.rawValue, EventSource(kind), reading: isReading, writing: false)
    }
  }
}
