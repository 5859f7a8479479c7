internal import Glibc
internal import HeapSurvey
internal import LinuxHeaps
internal import SystemPackage

/// What `heapctl holders` tells, as text and as JSON.
struct HoldersReport: Encodable {
  struct Holder: Encodable {
    let process: Int32
    let program: String
    let descriptors: Int
    let mappings: Int
  }

  struct Buffer: Encodable {
    let kind: String
    let heap: String?
    let inode: UInt64
    let sizeBytes: UInt64?
    let name: String?
    let collection: UInt64?
    let index: UInt64?
    /// References in the whole system; absent for a memfd, of which the kernel tells none.
    let referenceCount: Int?
    let heldByProcesses: Int
    /// What is left of the count: devices, messages in flight, processes that were not seen.
    let heldBeyond: Int?
    /// Those that imported it, as far as debugfs tells.
    let devices: [String]
    /// Where it was found: `proc`, and `debugfs` or `bpf`, the kernel's own lists.
    let foundIn: [String]
    let holders: [Holder]
  }

  struct HeapTotal: Encodable {
    let heap: String
    let buffers: Int
    let sizeBytes: UInt64
  }

  struct ProcessTotal: Encodable {
    let process: Int32
    let program: String
    let buffers: Int
    /// Each buffer in full, also where others hold it too.
    let sizeBytes: UInt64
  }

  /// What this user could not see.
  struct Unseen: Encodable {
    let processes: Int
    /// Why neither of the kernel's own lists was read; absent where one was.
    var debugfs: String?
    var bpf: String?
  }

  let buffers: [Buffer]
  let heaps: [HeapTotal]
  let processes: [ProcessTotal]
  let unseen: Unseen
}

extension HoldersReport {
  init(_ survey: BufferSurvey, heldBy process: pid_t? = nil) {
    let found = survey.buffers.filter { buffer in
      process.map { process in buffer.holders.contains { $0.process == process } } ?? true
    }
    let source = try? survey.list.get()
    buffers = found.map { Buffer($0, listedBy: source) }
    heaps = Dictionary(grouping: found) { $0.heap ?? "?" }.sorted { $0.key < $1.key }
      .map { heap, buffers in
        HeapTotal(
          heap: heap, buffers: buffers.count, sizeBytes: buffers.reduce(0) { $0.plus($1.size ?? 0) }
        )
      }
    var totals: [pid_t: ProcessTotal] = [:]
    for buffer in found {
      for holder in buffer.holders {
        let total = totals[holder.process]
        totals[holder.process] = ProcessTotal(
          process: holder.process, program: holder.name, buffers: (total?.buffers ?? 0) + 1,
          sizeBytes: (total?.sizeBytes ?? 0).plus(buffer.size ?? 0))
      }
    }
    processes = totals.values.sorted { $0.process < $1.process }
    unseen = Unseen(survey)
  }
}

extension HoldersReport.Unseen {
  fileprivate init(_ survey: BufferSurvey) {
    processes = survey.unseenProcesses
    guard case .failure(let failure) = survey.list else { return }
    debugfs = "\(BufferList.path): \(failure.debugfs)"
    bpf = (failure.bpf.path.map { "\($0): " } ?? "") + failure.bpf.cause
  }
}

extension HoldersReport.Buffer {
  fileprivate init(_ buffer: HeldBuffer, listedBy source: BufferList.Source?) {
    self.init(
      kind: buffer.isDMABuf ? "dma-buf" : "memfd", heap: buffer.heap, inode: buffer.key.inode,
      sizeBytes: buffer.size, name: buffer.name, collection: buffer.label?.bufferCollectionID,
      index: buffer.label?.bufferIndex, referenceCount: buffer.count, heldByProcesses: buffer.seen,
      heldBeyond: buffer.beyond, devices: buffer.devices,
      foundIn: (buffer.isInProcesses ? ["proc"] : [])
        + (buffer.isInList == true ? source.map { [$0.rawValue] } ?? [] : []),
      holders: buffer.holders.map {
        HoldersReport.Holder(
          process: $0.process, program: $0.name, descriptors: $0.descriptors, mappings: $0.mappings)
      })
  }
}
