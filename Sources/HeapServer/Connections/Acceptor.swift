internal import CLibrary
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// Lets clients in, or turns them away.
final class Acceptor {
  private let greeting: OnRegisterEvent
  private let shared: Shared
  private let entrance: Entrance
  private let connections: Connections

  init(
    _ shared: Shared, _ entrance: Entrance, _ properties: HeapProperties, _ connections: Connections
  ) {
    self.shared = shared
    self.entrance = entrance
    self.connections = connections
    greeting = OnRegisterEvent(properties: properties)
  }

  func accept(_ interface: Connection.Interface) {
    let listener: EventSource.Kind = interface == .heap ? .heapListener : .observerListener
    if let socket = entrance.accept(at: listener) { admit(socket, interface) }
  }

  private func admit(_ socket: ClientSocket, _ interface: Connection.Interface) {
    guard let peer = socket.peer else { return }
    guard shared.accounts.policy.access.admits(peer) else {
      return refuse(
        socket, of: peer, .accessDenied,
        "client refused: neither it nor a group of it is on the list")
    }
    guard shared.accounts.hasRoomForConnection(of: peer), shared.hasDescriptors(for: peer) else {
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
  }
}
