import HeapSurvey
import LinuxHeaps
import SystemPackage

@testable import heapctl

extension HoldersReport.Buffer {
  static func sample(
    _ heap: String, _ inode: UInt64, _ size: UInt64?, name: String?, count: Int? = nil,
    beyond: Int? = nil, devices: [String] = [], holders: [HoldersReport.Holder] = []
  ) -> Self {
    Self(
      kind: "dma-buf", heap: heap, inode: inode, sizeBytes: size, name: name, collection: nil,
      index: nil, referenceCount: count, heldByProcesses: 0, heldBeyond: beyond, devices: devices,
      foundIn: [], holders: holders)
  }
}

extension Snapshot {
  static let weston = HoldersReport.Holder(
    process: 812, program: "weston", descriptors: 2, mappings: 1)
  static let camera = HoldersReport.Holder(
    process: 1033, program: "camera\u{1b}[2J", descriptors: 1, mappings: 0)

  static let sampleBuffers: [HoldersReport.Buffer] = [
    .sample(
      "system", 11, 8 << 20, name: "frame", count: 6, beyond: 3, devices: ["vkms"],
      holders: [weston]),
    .sample(
      "default_cma_region", 12, 1 << 20, name: nil, count: 2, beyond: 0, holders: [camera, weston]),
    .sample("memfd", 13, 4096, name: "lh:a.0", holders: [camera]),
    .sample("system", 14, nil, name: "a name of thirty-one characters", count: 1, beyond: 1),
  ]

  /// A board with two heaps, and buffers of three.
  static func sample(
    _ buffers: [HoldersReport.Buffer] = sampleBuffers, process: Process? = nil,
    pressure: Result<Pressure, Errno>? = nil, unseen: HoldersReport.Unseen? = nil
  ) -> Snapshot {
    let text =
      "some avg10=12.50 avg60=3.04 avg300=0.00 total=9\nfull avg10=0.00 avg60=0.10 total=1\n"
    let told = pressure ?? Pressure(parsing: text).map { .success($0) } ?? .failure(.ioError)
    let totals = Dictionary(grouping: buffers) { $0.heap ?? "?" }.map {
      HoldersReport.HeapTotal(
        heap: $0, buffers: $1.count, sizeBytes: $1.reduce(0) { $0 + ($1.sizeBytes ?? 0) })
    }
    return Snapshot(
      report: HoldersReport(
        buffers: buffers, heaps: totals, processes: [],
        unseen: unseen ?? HoldersReport.Unseen(processes: 0, debugfs: nil)),
      process: process,
      heaps: [
        Heap(name: "default_cma_region", free: 60 << 20, capacity: 64 << 20), Heap(name: "system"),
      ],
      memory: MachineMemory(
        parsing: """
          MemTotal: 2097152 kB
          MemAvailable: 1048576 kB
          CmaTotal: 65536 kB
          CmaFree: 61440 kB
          """),
      pressure: [.memory: told, .io: told, .cpu: told], time: "12:34:56")
  }

  /// As it is shown; `keys` are pressed one by one, each after a frame.
  func shown(
    rows: Int = 24, columns: Int = 80, glyphs: Glyphs = .unicode, keys: [Key] = []
  ) -> [String] {
    var view = WatchView(order: .size)
    var history = HeapHistory()
    for bytes: UInt64 in [0, 4 << 20, 8 << 20] { history.note(["system": bytes]) }
    func frame() -> [String] {
      WatchFrame(
        self, history, machine: "board, Acme One, Linux 7.3.4", view: &view,
        size: ScreenSize(rows: rows, columns: columns), glyphs: glyphs
      ).lines.map(\.text)
    }
    var lines = frame()
    for key in keys {
      _ = view.press(key)
      lines = frame()
    }
    return lines.map { String($0.reversed().drop { $0 == " " }.reversed()) }
  }
}
