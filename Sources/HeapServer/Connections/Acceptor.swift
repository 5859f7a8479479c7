internal import CLibrary
internal import HeapProtocol
internal import LinuxHeaps
internal import Logging
internal import SystemPackage

/// Lets clients in, or turns them away.
final class Acceptor {
  /// OnRegister, encoded.
  private let greeting: [UInt8]
  private let shared: Shared
  private let entrance: Entrance
  private let connections: Connections

  init(
    _ shared: Shared, _ entrance: Entrance, _ properties: HeapProperties, _ connections: Connections
  ) {
    self.shared = shared
    self.entrance = entrance
    self.connections = connections
    var greeting: [UInt8] = []
    OnRegisterEvent(properties: properties).encode(transactionID: 0, into: &greeting)
    self.greeting = greeting
  }

  func accept(_ interface: Connection.Interface) {
    let listener: EventSource.Kind = interface == .heap ? .heapListener : .observerListener
    entrance.accept(at: listener) { admit($0, interface) }
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
    // Nothing else is made for who has hung up already: with more, four processes that do it again and again would hold up whoever
    // comes next.
    guard interface == .observer || greet(socket) else { return }
    do throws(Errno) {
      // It tells that an end may have gone unreported. All that observers have is memfds, whose ends inotify tells.
      let process = interface == .heap ? peer.processDescriptor(socket.borrowed) : nil
      try connections.add(socket, interface, peer, process: process)
    } catch {
      shared.clientLog.note(
        "client turned away", of: peer.user, at: .error, ["error": "\(error)"])
    }
  }

  /// False where nobody is there any more. A new socket has room for it.
  private func greet(_ socket: ClientSocket) -> Bool {
    socket.borrowed.sendOnce(greeting, nil) == .sent
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
