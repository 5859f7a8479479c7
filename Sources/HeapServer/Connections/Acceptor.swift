internal import Glibc
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// Lets clients in, or turns them away.
final class Acceptor {
  private let listeners: [(socket: Listener, kind: EventSource.Kind)]
  private let greeting: OnRegisterEvent
  private var isStopped = false
  private let shared: Shared
  private let connections: Connections

  init(
    _ shared: Shared, _ sockets: HeapServer.Sockets, _ properties: HeapProperties,
    _ connections: Connections
  ) throws(Errno) {
    self.shared = shared
    self.connections = connections
    listeners = [(sockets.heap, .heapListener), (sockets.observer, .observerListener)]
    greeting = OnRegisterEvent(properties: properties)
    for (socket, kind) in listeners { try shared.poller.add(socket.fd.rawValue, EventSource(kind)) }
  }

  func accept(_ interface: Connection.Interface) {
    let listener = listeners[interface == .heap ? 0 : 1].socket
    do throws(Errno) {
      guard let socket = try listener.accept(shared.disposer) else { return }
      admit(socket, interface)
      if shared.disposer.hasTooManySockets { pause() }
    } catch .tooManyOpenFiles, .tooManyOpenFilesInSystem {
      // The event would come for ever, and whose client it is nobody can tell.
      shared.clientLog.note("no descriptor is left: clients wait", of: .max, at: .error, [:])
      pause()
    } catch {
      // E.g. the client is gone again.
    }
  }

  private func admit(_ socket: ClientSocket, _ interface: Connection.Interface) {
    guard let peer = socket.peer else { return }
    guard shared.accounts.policy.access.admits(peer) else {
      return refuse(
        socket, of: peer, .accessDenied,
        "client refused: neither it nor a group of it is on the list")
    }
    guard shared.accounts.hasRoomForConnection(of: peer.user), !shared.descriptors.isUsedUp else {
      return refuse(socket, of: peer, .noResources, "client refused: too many connections")
    }
    do throws(Errno) {
      let process = peer.processDescriptor(socket.borrowed)
      let connection = try connections.add(socket, interface, peer, process: process)
      if interface == .heap { connections.send(greeting, to: connection) }
    } catch {
      shared.clientLog.note(
        "client turned away", of: peer.user, at: .error, ["error": "\(error)"])
    }
  }

  private func refuse(
    _ socket: ClientSocket, of peer: Peer, _ status: HeapError.Code, _ refusal: StaticString
  ) {
    shared.clientLog.note(
      refusal, of: peer.user, ["process": "\(peer.process)", "user": "\(peer.user)"])
    var epitaph: [UInt8] = []
    Epitaph(status: status.rawValue).encode(into: &epitaph)
    _ = socket.borrowed.sendOnce(epitaph, nil)
    socket.hangUp()
  }

  func stop() {
    isStopped = true
    for (socket, _) in listeners { shared.poller.remove(socket.fd.rawValue) }
  }

  // MARK: Pausing

  /// Who is next in a listener's queue is unknown before accept(2), so all wait.
  private func pause() {
    listen(false)
    shared.deadlines.set(.heldUpListeners, after: Disposer.pause)
  }

  func lookAgain() { if shared.disposer.hasTooManySockets { pause() } else { listen(true) } }

  private func listen(_ isReading: Bool) {
    if isStopped { return }
    for (socket, kind) in listeners {
      shared.poller.change(
        socket.fd.rawValue, EventSource(kind), reading: isReading, writing: false)
    }
  }
}
