/// Two servers measured in one run, by turns: what slows the machine for a second slows both.
///
/// Each turn of both gives a ratio, and the median of these is what counts: a machine that does
/// other work besides, or changes its speed, spoils single turns.
struct Turns {
  private static let count = 30
  private static let rounds = 1000

  /// The times of all turns together.
  private let first: Times
  private let second: Times
  /// First by second, turn by turn.
  private let medianRatios: [Double]
  private let tailRatios: [Double]

  init(_ a: borrowing Server, _ b: borrowing Server, _ load: String) throws(Failure) {
    let one = try Client(load, ["rounds", a.socket])
    let other = try Client(load, ["rounds", b.socket])
    _ = try Self.turn(one, "warm-up \(Self.rounds * 3)")
    _ = try Self.turn(other, "warm-up \(Self.rounds * 3)")
    var medianRatios: [Double] = []
    var tailRatios: [Double] = []
    for number in 0..<Self.count {
      // Each is the earlier one as often as the other.
      let isEven = number.isMultiple(of: 2)
      let early = try isEven ? Self.turn(one) : Self.turn(other)
      let late = try isEven ? Self.turn(other) : Self.turn(one)
      let (first, second) = isEven ? (early, late) : (late, early)
      medianRatios.append(try first("round.p50") / second("round.p50"))
      tailRatios.append(try first("round.p99") / second("round.p99"))
    }
    self.medianRatios = medianRatios
    self.tailRatios = tailRatios
    first = try Self.total(one)
    second = try Self.total(other)
  }

  private static func turn(
    _ client: borrowing Client, _ order: String = "\(rounds)"
  ) throws(Failure) -> Times {
    try client.order(order)
    return Times(try client.answer())
  }

  private static func total(_ client: borrowing Client) throws(Failure) -> Times {
    client.endOrders()
    return Times(try client.answer())
  }

  /// Of the p50 of a round.
  var medianRatio: Double { percentile(50, of: medianRatios) }

  /// Of the p99 of a round.
  var tailRatio: Double { percentile(50, of: tailRatios) }

  /// The figures that explain a ratio.
  func times(_ firstName: String, _ secondName: String) throws(Failure) -> [Figure] {
    var figures: [Figure] = []
    for name: Substring in ["round.p50", "round.p99", "allocate.p50", "delete.p50"] {
      let words = name.replacing(".", with: " ")
      figures.append(Figure("\(words), \(firstName)", try first(name) / 1e3, .microseconds))
      figures.append(Figure("\(words), \(secondName)", try second(name) / 1e3, .microseconds))
    }
    for (name, ratios) in [("p50", medianRatios), ("p99", tailRatios)] {
      figures.append(Figure("\(name) ratio, p10 of the turns", percentile(10, of: ratios), .times))
      figures.append(Figure("\(name) ratio, p90 of the turns", percentile(90, of: ratios), .times))
    }
    return figures
  }
}
