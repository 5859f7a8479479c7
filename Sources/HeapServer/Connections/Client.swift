internal import LinuxHeaps

/// A process that connected, for as long as its connection or a buffer of it is there.
final class Client {
  let id: UInt64
  let peer: Peer
  /// Nil once the process has ended, or where the kernel gave none.
  var process: SharedFD?
  var isConnected = true
  /// Its buffers whose last close the kernel reports to nobody: to be asked about when it goes.
  var unreportedBuffers: Set<VMOIdentity> = []

  init(_ id: UInt64, _ peer: Peer, _ process: SharedFD?) {
    self.id = id
    self.peer = peer
    self.process = process
  }
}
