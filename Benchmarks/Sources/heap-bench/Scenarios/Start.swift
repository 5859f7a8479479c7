private let starts = 30

/// How soon a client can be served after a boot or a crash.
func measureStart(
  _ programs: Programs, in scratch: borrowing Scratch
) throws(Failure) -> [Figure] {
  var times: [Double] = []
  for number in 0..<starts {
    // Other services start too, and the one that waits runs elsewhere: any processor.
    let program = ServerProgram(path: programs.heapd, processor: nil)
    let server = try Server(program, "start-\(number)", in: scratch)
    times.append(server.startTime.milliseconds)
  }
  return [
    Figure("median", percentile(50, of: times), .milliseconds, target: 30),
    Figure("max", percentile(100, of: times), .milliseconds, target: 30),
  ]
}
