internal import Glibc

/// A `load` process, pinned to processor 0. Orders and answers are one message each.
struct Client: ~Copyable {
  let child: Child
  private let control: Descriptor

  /// - Parameter arguments: The mode, the server's socket and what belongs to the mode.
  init(_ load: String, _ arguments: [String]) throws(Failure) {
    let ends = try Descriptor.pair()
    let near = Descriptor(adopting: ends.near)
    let far = Descriptor(adopting: ends.far)
    child = try Child(
      [load] + arguments, input: far.number, output: far.number, processor: 0)
    control = near
  }

  func order(_ text: String) throws(Failure) { try control.send(Array("\(text)\n".utf8)) }

  /// It can still answer.
  func endOrders() { shutdown(control.number, CInt(SHUT_WR)) }

  /// What it says next, with the descriptor that comes along. What went wrong it has said on
  /// standard error, which it shares with this process.
  func answer(within limit: Duration = .seconds(60)) throws(Failure) -> Descriptor.Message {
    guard control.waitToRead(until: .now + limit) else {
      throw Failure("a client got no further within \(limit.components.seconds) s")
    }
    let message = try control.receive()
    if message.bytes.isEmpty { throw Failure("a client \(child.ending()), see above") }
    return message
  }
}

/// The times of rounds, as a client reports them, in nanoseconds.
struct Times {
  /// By name: `round.p50`, `allocate.p99`, ...
  private let figures: [Substring: Double]

  init(_ message: Descriptor.Message) {
    let text = String(decoding: message.bytes, as: UTF8.self)
    let words = text.split { $0 == " " || $0 == "\n" }
    figures = Dictionary(
      words.compactMap { word in
        guard let equals = word.firstIndex(of: "="),
          let value = Double(word[word.index(after: equals)...])
        else { return nil }
        return (word[..<equals], value)
      }, uniquingKeysWith: { $1 })
  }

  func callAsFunction(_ name: Substring) throws(Failure) -> Double {
    guard let value = figures[name] else { throw Failure("a client's answer lacks \(name)") }
    return value
  }
}
