/// What can be measured, by the letter that `--only` takes.
enum Scenario: String, CaseIterable {
  case roundTrip = "a"
  case crowd = "b"
  case idle = "c"
  case start = "d"
  case death = "e"

  var title: String {
    switch self {
    case .roundTrip: "AllocateVmo and DeleteVmo of 64 KiB: heapd and the baseline, in turns"
    case .crowd: "the same beside 100 connections that hold 10,000 buffers, and without them"
    case .idle: "heapd without a buffer"
    case .start: "from the start of a process to READY=1, 30 times, on any processor"
    case .death: "from the kill of a client to its 8 buffers' end, 300 times"
    }
  }

  func measure(_ programs: Programs, in scratch: borrowing Scratch) throws(Failure) -> Findings {
    let figures =
      switch self {
      case .roundTrip: try measureRoundTrip(programs, in: scratch)
      case .crowd: try measureCrowd(programs, in: scratch)
      case .idle: try measureIdle(programs, in: scratch)
      case .start: try measureStart(programs, in: scratch)
      case .death: try measureDeath(programs, in: scratch)
      }
    return Findings(scenario: self, figures: figures)
  }
}

/// Where the programs are.
struct Programs {
  let heapd: String
  let baseline: String
  let load: String
}
