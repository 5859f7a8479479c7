/// Whether a server that has nothing to do does nothing.
func measureIdle(
  _ programs: Programs, in scratch: borrowing Scratch
) throws(Failure) -> [Figure] {
  let server = try Server(ServerProgram(path: programs.heapd), "idle", in: scratch)
  let process = ProcessFigures(pid: server.pid)
  // What it does at its start after it has said that it is ready is no wake-up.
  rest(for: .seconds(1))
  let resident = try process.residentBytes()
  try useForAWhile(server, programs.load)
  let before = try process.switches()
  rest(for: .seconds(10))
  let switches = growth(from: before, to: try process.switches())
  return [
    Figure("wake-ups in 10 s", Double(switches), .times, target: 0),
    Figure("resident memory", Double(resident) / 1_048_576, .mebibytes, target: 12),
  ]
}

/// A server that had buffers, and has none now, shall be as quiet as one that never had any.
private func useForAWhile(_ server: borrowing Server, _ load: String) throws(Failure) {
  let client = try Client(load, ["rounds", server.socket])
  try client.order("1000")
  _ = try client.answer()
  client.endOrders()
  _ = try client.answer()
  rest(for: .seconds(1))
}
