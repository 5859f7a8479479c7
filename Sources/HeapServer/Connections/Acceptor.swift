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
      guard let socket = try listener.accept() else { return }
      admit(socket, interface)
      holdUp()
    } catch .tooManyOpenFiles, .tooManyOpenFilesInSystem {
      // The client would wait in the queue, and the event would come for ever.
      // Whose it is nobody can tell.
      shared.clientLog.note("client turned away: no descriptor is left", of: .max, at: .error, [:])
      shared.descriptors.withSpare {
        // It is closed here: elsewhere it would wait, with the descriptor that is needed next.
        if let socket = try? listener.accept() { tell(.noResources, socket) }
      }
    } catch {
      // E.g. the client is gone again.
    }
  }

  private func admit(_ socket: SharedFD, _ interface: Connection.Interface) {
    guard let peer = try? Peer(of: socket.fd) else { return }
    guard shared.accounts.policy.access.admits(peer) else {
      return refuse(
        socket, of: peer, .accessDenied,
        "client refused: neither it nor a group of it is on the list")
    }
    guard shared.accounts.hasRoomForConnection(of: peer.user), !shared.descriptors.isUsedUp else {
      return refuse(socket, of: peer, .noResources, "client refused: too many connections")
    }
    do throws(Errno) {
      let process = peer.processDescriptor(socket.fd)
      let connection = try connections.add(socket, interface, peer, process: process)
      if interface == .heap { connections.send(greeting, to: connection) }
    } catch {
      shared.clientLog.note(
        "client turned away", of: peer.user, at: .error, ["error": "\(error)"])
      shared.closeQueue.letGo(of: socket, of: peer.user)
    }
  }

  /// A peer that never became a client may have sent something already.
  private func refuse(
    _ socket: SharedFD, of peer: Peer, _ status: HeapError.Code, _ refusal: StaticString
  ) {
    shared.clientLog.note(
      refusal, of: peer.user, ["process": "\(peer.process)", "user": "\(peer.user)"])
    tell(status, socket)
    shared.closeQueue.letGo(of: socket, of: peer.user)
  }

  private func tell(_ status: HeapError.Code, _ socket: SharedFD) {
    var epitaph: [UInt8] = []
    Epitaph(status: status.rawValue).encode(into: &epitaph)
    _ = socket.fd.sendOnce(epitaph, nil)
  }

  func stop() {
    isStopped = true
    for (socket, _) in listeners { shared.poller.remove(socket.fd.rawValue) }
  }

  // MARK: Holding up

  /// Who is next in a listener's queue is unknown before accept(2), so all wait.
  private func holdUp() {
    guard shared.closeQueue.hasTooMuch else { return }
    listen(false)
    shared.deadlines.set(.heldUpListeners, after: CloseQueue.pause)
  }

  func lookAgain() {
    listen(true)
    holdUp()
  }

  private func listen(_ isReading: Bool) {
    if isStopped { return }
    for (socket, kind) in listeners {
      shared.poller.change(
        socket.fd.rawValue, EventSource(kind), reading: isReading, writing: false)
    }
  }
}
