private let deaths = 300
private let buffers = 8

/// How soon the memory of a client that dies is free.
func measureDeath(
  _ programs: Programs, in scratch: borrowing Scratch
) throws(Failure) -> [Figure] {
  let server = try Server(ServerProgram(path: programs.heapd), "death", in: scratch)
  var observer = try Observer(of: server)
  var times: [Double] = []
  for _ in 0..<deaths {
    let victim = try Client(programs.load, ["pass", server.socket, "\(buffers)"])
    for _ in 0..<buffers {
      guard let vmo = try victim.answer().descriptor else {
        throw Failure("a client passed on no vmo")
      }
      try observer.await(vmo)
    }
    // The server reads and closes these vmos; it must not be the one that keeps them.
    rest(for: .milliseconds(5))
    let start = ContinuousClock.now
    victim.child.kill()
    try observer.waitForAll()
    times.append((ContinuousClock.now - start).milliseconds)
  }
  return [
    Figure("p50", percentile(50, of: times), .milliseconds),
    Figure("p99", percentile(99, of: times), .milliseconds, target: 5),
  ]
}
