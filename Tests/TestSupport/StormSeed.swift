import Glibc

/// Random numbers that a failure's message lets one have again.
package struct StormSeed: RandomNumberGenerator, CustomStringConvertible {
  private let seed: UInt64
  private var state: UInt64

  /// A new one, or that of the environment's `LINUXHEAPS_SEED`.
  package init() {
    let asked = unsafe getenv("LINUXHEAPS_SEED").flatMap { unsafe UInt64(String(cString: $0)) }
    seed = asked ?? .random(in: 0...UInt64(UInt32.max))
    state = seed
  }

  package var description: String { "LINUXHEAPS_SEED=\(seed)" }

  /// splitmix64
  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}

/// How large storms are: whole ones, or the part that `LINUXHEAPS_STORM_SHARE` asks for, e.g. 10 for a tenth, where each
/// process takes an emulated processor long.
package enum StormSize {
  private static let share =
    unsafe getenv("LINUXHEAPS_STORM_SHARE").flatMap { unsafe UInt64(String(cString: $0)) } ?? 1

  package static let clients = max(20, 500 / share)
  package static let servers = max(5, 50 / share)
  /// Of each task that makes buffers.
  package static let rounds = max(100, 500 / share)
}
