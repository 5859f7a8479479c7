internal import CLibrary
internal import HeapSurvey
internal import LinuxHeaps

/// Who held more the second time: what `heapctl holders --growing` tells.
struct Growth: Encodable {
  /// A process, a device, or, where it is neither, nobody that was seen.
  struct Grown: Encodable {
    let process: Int32?
    let program: String?
    let device: String?
    let buffers: Int
    let sizeBytes: UInt64
    /// Below 0 where a few large buffers took the place of many, or the other way round.
    let moreBuffers: Int
    let moreBytes: Int64
    /// What it did not hold the first time.
    let newBuffers: [NewBuffer]
  }

  struct NewBuffer: Encodable {
    let heap: String?
    let inode: UInt64
    let sizeBytes: UInt64?
    let name: String?
  }

  let seconds: Double
  /// By bytes, the most first.
  let grown: [Grown]
  /// What is told where nobody grew.
  private let quiet: String

  private enum CodingKeys: CodingKey { case seconds, grown }

  private enum Owner: Hashable {
    case process(pid_t)
    case device(String)
    case nobody
  }

  init(
    from before: BufferSurvey, to after: BufferSurvey, within seconds: Double, of process: pid_t?
  ) {
    self.seconds = seconds
    let (had, has) = (Self.owned(before), Self.owned(after))
    let asked = process.map { [.process($0)] } ?? Array(has.keys)
    let programs = Dictionary(
      after.buffers.flatMap(\.holders).map { ($0.process, $0.name) }, uniquingKeysWith: { $1 })
    grown = asked.compactMap { owner in
      let (old, new) = (had[owner] ?? [], has[owner] ?? [])
      let moreBuffers = new.count - old.count
      let moreBytes = Int64(clamping: Self.bytes(new)) - Int64(clamping: Self.bytes(old))
      guard moreBuffers > 0 || moreBytes > 0 else { return nil }
      let known = Set(old.map(\.key))
      var (process, device): (pid_t?, String?)
      switch owner {
      case .process(let number): process = number
      case .device(let name): device = name
      case .nobody: break
      }
      return Grown(
        process: process, program: process.flatMap { programs[$0] }, device: device,
        buffers: new.count, sizeBytes: Self.bytes(new), moreBuffers: moreBuffers,
        moreBytes: moreBytes,
        newBuffers: new.filter { !known.contains($0.key) }.map {
          NewBuffer(heap: $0.heap, inode: $0.key.inode, sizeBytes: $0.size, name: $0.name)
        })
    }.sorted {
      ($1.moreBytes, $1.moreBuffers, $0.holder) < ($0.moreBytes, $0.moreBuffers, $1.holder)
    }
    let all = process.map { has[.process($0)] ?? [] } ?? after.buffers
    quiet =
      (process.map { "process \($0) did not grow" } ?? "nobody grew")
      + " in \(Self.time(seconds)): "
      + (all.isEmpty
        ? "no buffers"
        : "\(all.count.counted("buffer", "buffers")), \(Self.bytes(all).asByteCount)")
  }

  private static func owned(_ survey: BufferSurvey) -> [Owner: [HeldBuffer]] {
    var owned: [Owner: [HeldBuffer]] = [:]
    for buffer in survey.buffers {
      let owners =
        buffer.holders.map { Owner.process($0.process) }
        + Set(buffer.devices).map { Owner.device($0) }
      for owner in owners.isEmpty ? [.nobody] : owners { owned[owner, default: []].append(buffer) }
    }
    return owned
  }

  private static func bytes(_ buffers: [HeldBuffer]) -> UInt64 {
    buffers.reduce(0) { $0.plus($1.size ?? 0) }
  }

  static func time(_ seconds: Double) -> String {
    seconds == seconds.rounded() ? "\(Int(seconds)) s" : "\(seconds) s"
  }

  var lines: [String] {
    guard !grown.isEmpty else { return [quiet] }
    let rows = table(["HOLDER", "BUFFERS", "MORE", "BYTES", "MORE"], grown.map(\.cells))
    var lines = ["grew in \(Self.time(seconds)), the most first", rows[0]]
    for (row, one) in zip(rows.dropFirst(), grown) {
      lines += [row] + one.newBuffers.map { "  new: \($0.text)" }
    }
    return lines
  }
}

extension Growth.Grown {
  fileprivate var holder: String {
    if let process { return "process \(process) (\((program ?? "").visible))" }
    return device.map { "device \($0.visible)" } ?? "nobody seen"
  }

  fileprivate var cells: [String] {
    [
      holder, "\(buffers)", moreBuffers < 0 ? "\(moreBuffers)" : "+\(moreBuffers)",
      sizeBytes.asByteCount, (moreBytes < 0 ? "-" : "+") + moreBytes.magnitude.asByteCount,
    ]
  }
}

extension Growth.NewBuffer {
  fileprivate var text: String {
    "\(sizeBytes?.asByteCount ?? "?") of \(heap ?? "?"), inode \(inode), \(name?.visible ?? "no name")"
  }
}
