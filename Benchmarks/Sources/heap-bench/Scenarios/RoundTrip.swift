/// What heapd costs beyond the system calls that its work needs.
func measureRoundTrip(
  _ programs: Programs, in scratch: borrowing Scratch
) throws(Failure) -> [Figure] {
  let heapd = try Server(ServerProgram(path: programs.heapd), "heapd", in: scratch)
  let baseline = try Server(ServerProgram(path: programs.baseline), "baseline", in: scratch)
  let turns = try Turns(heapd, baseline, programs.load)
  return try turns.times("heapd", "baseline") + [
    Figure("p50 ratio", turns.medianRatio, .times, target: 1.5),
    Figure("p99 ratio", turns.tailRatio, .times, target: 3),
  ]
}
