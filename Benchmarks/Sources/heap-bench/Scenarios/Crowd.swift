private let connections = 100
private let buffers = 10_000

/// By default one user may not hold so many.
private let configuration = """
  user-connections = 200
  user-buffers = 20000
  connection-buffers = 20000
  total-buffers = 20000
  user-bytes = 8G
  connection-bytes = 8G
  total-bytes = 8G

  """

/// Whether a call costs more the more buffers live, and whether these cost anything by themselves.
func measureCrowd(
  _ programs: Programs, in scratch: borrowing Scratch
) throws(Failure) -> [Figure] {
  let file = try scratch.write(configuration, as: "crowd.conf")
  let program = ServerProgram(path: programs.heapd, arguments: ["--config", file])
  let empty = try Server(program, "empty", in: scratch)
  let crowded = try Server(program, "crowded", in: scratch)
  let crowd = try Client(programs.load, ["hold", crowded.socket, "\(connections)", "\(buffers)"])
  _ = try crowd.answer()
  let turns = try Turns(crowded, empty, programs.load)
  // The clients that took turns are gone; what they leave to be done shall be done.
  rest(for: .seconds(1))
  let share = try processorShare(of: crowded.pid, over: .seconds(10))
  crowd.endOrders()
  return try turns.times("crowded", "empty") + [
    Figure("p50 ratio", turns.medianRatio, .times, target: 1.2),
    Figure("processor time at rest", share * 100, .percent, target: 1),
  ]
}

/// 1 is one whole processor.
private func processorShare(of pid: Int32, over duration: Duration) throws(Failure) -> Double {
  let process = ProcessFigures(pid: pid)
  let start = ContinuousClock.now
  let before = try process.processorTimes()
  rest(for: duration)
  let used = growth(from: before, to: try process.processorTimes())
  return Double(used) / 1e9 / (ContinuousClock.now - start).seconds
}
