internal import ArgumentParser
internal import CLibrary
internal import LinuxHeaps
internal import SystemPackage

/// The second process, seen from the first: this program again, at the other end of a socket.
struct DemoPartner: ~Copyable {
  private static let program = "/proc/self/exe"
  private let socket: MessageSocket
  private let process: pid_t

  init() throws(HeapError) {
    let pair = try MessageSocket.Pair()
    do throws(Errno) { process = try Self.spawn(pair.far) } catch {
      throw HeapError(error, "start the second process", at: Self.program)
    }
    socket = pair.keepingNear()
  }

  deinit {
    // It ends when it sees the hang-up, which the socket's own close would bring only after this.
    socket.hangUp()
    waitpid(process, nil, 0)
  }

  private static func spawn(_ far: borrowing MessageSocket) throws(Errno) -> pid_t {
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    _ = far.withDescriptor { unsafe posix_spawn_file_actions_adddup2(&actions, $0, 3) }
    var process = pid_t()
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe [
      strdup("heapctl"), strdup("demo-partner"), nil,
    ]
    defer { for index in unsafe arguments.indices { unsafe free(arguments[index]) } }
    let error = unsafe posix_spawn(
      &process, program, &actions, nil, &arguments, environ)
    if error != 0 { throw Errno(rawValue: error) }
    return process
  }

  /// Passes a slice. The answer is the partner's process id, and what it read there.
  func take(_ slice: borrowing VMO) throws(HeapError) -> (pid_t, String) {
    let answer = try ask { () throws(HeapError) in
      try socket.send(Array("\(slice.offset) \(slice.byteCount)".utf8), passing: slice)
    }
    return (process, answer)
  }

  func closeDescriptor() throws(HeapError) { try order("close") }

  func unmap() throws(HeapError) { try order("unmap") }

  private func order(_ order: String) throws(HeapError) {
    _ = try ask { () throws(HeapError) in try socket.send(Array(order.utf8)) }
  }

  // Not in each order: it would make the program larger.
  @inline(never)
  private func ask(_ send: () throws(HeapError) -> Void) throws(HeapError) -> String {
    try send()
    guard let message = try socket.receive() else {
      throw HeapError(.peerClosed, "talk to the second process", cause: "it has ended")
    }
    return String(decoding: message.bytes, as: UTF8.self)
  }
}

/// The second process itself.
struct DemoPartnerProcess: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo-partner", abstract: "The second process of the demo.", shouldDisplay: false)

  func run() async throws {
    let socket = MessageSocket(adopting: OwnedFD(adopting: 3))
    var held = Held()
    while let message = try socket.receive() {
      try socket.send(Array(try held.obey(message).utf8))
    }
  }

  /// What the process holds of a buffer.
  private struct Held: ~Copyable {
    private var vmo: VMO?
    private var mapping: Mapping<ReadWrite>?

    /// The answer.
    mutating func obey(_ message: consuming MessageSocket.Message) throws -> String {
      let words = String(decoding: message.bytes, as: UTF8.self).split(separator: " ")
      switch words.first {
      case "close":
        vmo = nil
        return "closed"
      case "unmap":
        mapping = nil
        return "unmapped"
      default:
        guard let descriptor = message.descriptors.next(), words.count == 2,
          let offset = UInt64(words[0]), let byteCount = UInt64(words[1])
        else { throw ValidationError("demo-partner is started by demo alone") }
        // A descriptor stands for the whole buffer; the message says which part is meant.
        let slice = try VMO(adopting: descriptor).slice(offset: offset, byteCount: byteCount)
        let read = try text(of: slice)
        try write(
          "answered by process \(getpid())", to: slice.slice(offset: pageSize, byteCount: pageSize))
        mapping = try slice.map()
        vmo = consume slice
        return read
      }
    }
  }
}
