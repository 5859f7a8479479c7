internal import Glibc
internal import Wire

/// How to start a server: the program, and the options that heapd and the baseline both take.
struct ServerProgram {
  let path: String
  var arguments: [String] = []
  /// The only processor that it may use; nil for any.
  var processor: CInt? = 0
}

/// A server that has said it is ready.
struct Server: ~Copyable {
  /// Where its heap is served.
  let socket: String
  /// From the moment before its process began until `READY=1` was received here.
  let startTime: Duration
  private let child: Child

  /// - Parameter name: A part of file names; no two of one scratch directory may be the same.
  init(_ program: ServerProgram, _ name: String, in scratch: borrowing Scratch) throws(Failure) {
    let socket = "\(scratch.path)/\(name)"
    let log = "\(socket).log"
    let notifyPath = "\(socket).notify"
    let notify = Descriptor(
      adopting: try check(unsafe Wire_bind_notify(notifyPath), "cannot bind \(notifyPath)"))
    let nothing = try Descriptor.open("/dev/null", O_RDONLY)
    let output = try Descriptor.open(log, O_WRONLY | O_CREAT | O_APPEND)
    let command = [program.path, "--socket", socket, "--heap", "memfd"] + program.arguments
    let before = ContinuousClock.now
    let child = try Child(
      command, input: nothing.number, output: output.number, error: output.number,
      processor: program.processor, notifySocket: notifyPath)
    do throws(Failure) {
      startTime = try Self.waitUntilReady(child, notify) - before
    } catch {
      throw Failure("the server did not start: \(error): \(command.joined(separator: " "))")
    }
    self.child = child
    self.socket = socket
  }

  /// When it was heard to be ready.
  private static func waitUntilReady(
    _ child: borrowing Child, _ notify: borrowing Descriptor
  ) throws(Failure) -> ContinuousClock.Instant {
    let deadline = ContinuousClock.now + .seconds(10)
    while true {
      let readable = wait(for: [notify.number, child.endDescriptor], until: deadline)
      let now = ContinuousClock.now
      if readable == nil { throw Failure("no READY=1 for 10 s") }
      if readable != notify.number { throw Failure("it \(child.ending())") }
      let message = String(decoding: try notify.receive().bytes, as: UTF8.self)
      // It may tell of more, and earlier.
      if message.split(separator: "\n").contains("READY=1") { return now }
    }
  }

  var pid: pid_t { child.pid }
}
