internal import ArgumentParser
internal import CLibrary
internal import HeapSurvey
internal import LinuxHeaps
internal import SystemPackage

struct HoldersCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "holders",
    abstract: "Lists every buffer on this machine and who holds it.",
    discussion: """
      Reads each process's descriptors and mappings from /proc and, as root, the kernel's own list \
      of dma-bufs from debugfs or, since Linux 6.16, by a BPF iterator. References whose holder \
      was not found are listed as such: debugfs names the devices that imported a buffer, and /proc \
      who has those open, and to whom messages with descriptors are on their way.
      """)

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Only the buffers that this process holds.", valueName: "process"))
  var pid: ProcessID?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Read twice, this far apart, and tell who holds more the second time.", valueName: "seconds"))
  var growing: Double?

  @OptionGroup var output: OutputChoice

  func validate() throws {
    guard let growing, !(0.1...86_400).contains(growing) else { return }
    throw ValidationError("--growing is from 0.1 to 86400 seconds")
  }

  func run() throws {
    if let pid { try Self.expectVisible(pid.number) }
    var survey = BufferSurvey()
    var growth: Growth?
    if let growing {
      let before = survey
      let due = MonotonicTime.now.advanced(by: .seconds(growing))
      tell("reading again in \(Growth.time(growing))")
      while due > .now { poll(nil, 0, due.millisecondsFromNow) }
      if let pid { try Self.expectVisible(pid.number) }
      survey = BufferSurvey()
      growth = Growth(from: before, to: survey, within: growing, of: pid?.number)
    }
    let report = HoldersReport(survey, heldBy: pid?.number, growth)
    if output.json {
      try showJSON(report, named: "holders")
    } else {
      (growth.map { $0.lines + report.notesBelow } ?? report.lines()).forEach(show)
    }
  }

  static func expectVisible(_ process: pid_t) throws(HeapError) {
    let (operation, path) = ("inspect process \(process)", "/proc/\(process)")
    if unsafe access("\(path)/fd", R_OK | X_OK) == 0, mayFollowLinks(of: path) { return }
    let isListed = unsafe access(path, F_OK) == 0
    guard isListed || kill(process, 0) != 0 && errno == EPERM else {
      throw HeapError(
        .notFound, operation, at: path, cause: "no such process",
        fix: "heapctl holders lists all that hold a buffer")
    }
    let isOwn = isListed && hasOwnUser(path)
    let isRoot = geteuid() == 0
    throw HeapError(
      .accessDenied, operation, at: path,
      cause: (isOwn
        ? "it is not dumpable (file capabilities, PR_SET_DUMPABLE), or has rights that this process lacks"
        : "it is another user's")
        + (isListed ? "" : ", and /proc is mounted with hidepid")
        + (isRoot ? ", and this process lacks CAP_SYS_PTRACE over it" : ""),
      fix: isRoot
        ? Surroundings().giveCapability("SYS_PTRACE")
        : isOwn ? "run as root" : "run as that user, or as root")
  }

  /// The links of descriptors are read by ptrace(2)'s rights (proc_fd_access_allowed, fs/proc/base.c): modes, which CAP_DAC_OVERRIDE
  /// passes, do not tell. That of the program is read by the same; a kernel thread, which has none, answers ENOENT.
  private static func mayFollowLinks(of process: String) -> Bool {
    do throws(Errno) {
      _ = try SmallFile.link("\(process)/exe")
      return true
    } catch {
      return error != .permissionDenied && error != .notPermitted
    }
  }

  /// Its real, effective and saved ids: the kernel compares all three (__ptrace_may_access, kernel/ptrace.c).
  private static func hasOwnUser(_ process: String) -> Bool {
    let status = (try? SmallFile.read("\(process)/status")) ?? ""
    let ids = status.lines.first { $0.hasPrefix("Uid:") }?.split(separator: "\t").dropFirst() ?? []
    return !ids.isEmpty && ids.prefix(3).allSatisfy { uid_t($0) == geteuid() }
  }
}

/// A process by its number, from 1.
struct ProcessID: ExpressibleByArgument {
  let number: pid_t

  init?(argument: String) {
    guard let number = pid_t(argument), number > 0 else { return nil }
    self.number = number
  }
}

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

  struct DeviceTotal: Encodable {
    let device: String
    let buffers: Int
    let sizeBytes: UInt64
    /// One of these has to close its imports, or the device.
    let openIn: [Opener]
  }

  struct Opener: Encodable {
    let process: Int32
    let program: String
    let path: String
  }

  struct Recipient: Encodable {
    let process: Int32
    let program: String
    let descriptors: Int
  }

  /// What this user could not see.
  struct Unseen: Encodable {
    let processes: Int
    /// Why more may not even be listed; absent where all are.
    let hidden: String?
    /// Why neither of the kernel's own lists was read; absent where one was.
    var debugfs: String?
    var bpf: String?

    fileprivate init(_ survey: BufferSurvey) {
      processes = survey.unseenProcesses
      hidden = survey.hidden
      guard case .failure(let failure) = survey.list else { return }
      debugfs = "\(BufferList.path): \(failure.debugfs)"
      bpf = (failure.bpf.path.map { "\($0): " } ?? "") + failure.bpf.cause
    }
  }

  let buffers: [Buffer]
  let heaps: [HeapTotal]
  let processes: [ProcessTotal]
  /// Those that imported a buffer, as far as debugfs tells.
  let devices: [DeviceTotal]
  /// To whom descriptors are on their way, of whatever they are.
  let recipients: [Recipient]
  let unseen: Unseen
  let growth: Growth?

  init(_ survey: BufferSurvey, heldBy process: pid_t? = nil, _ growth: Growth? = nil) {
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
    devices = survey.importers.compactMap { importer in
      let imported = found.filter { $0.devices.contains(importer.name) }
      guard !imported.isEmpty else { return nil }
      return DeviceTotal(
        device: importer.name, buffers: imported.count,
        sizeBytes: imported.reduce(0) { $0.plus($1.size ?? 0) },
        openIn: importer.openers.map {
          Opener(process: $0.process, program: $0.name, path: $0.path)
        })
    }
    recipients = survey.recipients.map {
      Recipient(process: $0.process, program: $0.name, descriptors: $0.descriptors)
    }
    unseen = Unseen(survey)
    self.growth = growth
  }

  /// The buffers, what each heap and each process has, and what this user could not see.
  func lines(sortedBy order: BufferOrder? = nil) -> [String] {
    guard !buffers.isEmpty else { return ["no buffers"] + notesBelow }
    let buffers = order?.sorted(buffers) ?? buffers
    let rows = table(
      ["HEAP", "SIZE", "INODE", "COUNT", "COLLECTION", "INDEX", "NAME"], buffers.map(\.cells))
    var lines = [rows[0]]
    for (row, buffer) in zip(rows.dropFirst(), buffers) {
      lines += [row] + buffer.holderLines(unseen.processes > 0 || unseen.hidden != nil)
    }
    let heapRows = heaps.map { [$0.heap, "\($0.buffers)", $0.sizeBytes.asByteCount] }
    lines += [""] + table(["HEAP", "BUFFERS", "BYTES"], heapRows)
    let processRows = processes.map {
      ["\($0.process)", $0.program.visible, "\($0.buffers)", $0.sizeBytes.asByteCount]
    }
    lines += [""] + table(["PROCESS", "PROGRAM", "BUFFERS", "BYTES"], processRows)
    if !devices.isEmpty {
      let rows = devices.map { device in
        let openers = device.openIn.map { "process \($0.process) (\($0.program)) by \($0.path)" }
        return [
          device.device.visible, "\(device.buffers)", device.sizeBytes.asByteCount,
          openers.isEmpty ? "no process seen" : openers.joined(separator: ", ").visible,
        ]
      }
      lines += [""] + table(["DEVICE", "BUFFERS", "BYTES", "OPEN IN"], rows)
    }
    return lines + notesBelow
  }

  var notesBelow: [String] { notes.isEmpty ? [] : [""] + notes }

  private var notes: [String] {
    var notes = recipients.map {
      "in flight: \($0.descriptors.counted("descriptor", "descriptors")), of whatever file, in messages that "
        + "process \($0.process) (\($0.program.visible)) has not received"
    }
    if unseen.processes > 0 {
      notes.append("not seen: \(unseen.processes.counted("process", "processes")) of other users")
    }
    if let hidden = unseen.hidden {
      notes.append("not seen: any number of processes that are not listed here: \(hidden)")
    }
    for failure in [unseen.debugfs, unseen.bpf].compactMap({ $0 }) {
      notes.append("not seen: the kernel's own list of dma-bufs (\(failure))")
    }
    return notes
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

  fileprivate var cells: [String] {
    [
      heap ?? "?", sizeBytes?.asByteCount ?? "?", "\(inode)", referenceCount.map { "\($0)" } ?? "-",
      collection.map { "\($0)" } ?? "-", index.map { "\($0)" } ?? "-", name?.visible ?? "-",
    ]
  }

  fileprivate func holderLines(_ hasUnseen: Bool) -> [String] {
    var lines = holders.map {
      "  process \($0.process) (\($0.program.visible)): "
        + $0.descriptors.counted("descriptor", "descriptors") + ", "
        + $0.mappings.counted("mapping", "mappings")
    }
    let imports = devices.isEmpty ? nil : "imported by \(devices.joined(separator: ", "))"
    if let heldBeyond, heldBeyond > 0 || holders.isEmpty {
      let whose =
        holders.isEmpty ? imports == nil ? "nobody seen" : "no process" : "beyond processes"
      let anywhere =
        (foundIn.contains("debugfs") ? "" : "imported by a device, ")
        + "in a message in flight, or in the kernel"
      lines.append(
        "  \(whose): \(heldBeyond.counted("reference", "references")), \(imports ?? anywhere)"
          + (hasUnseen ? ", or in a process that was not seen" : ""))
    } else if let imports {
      lines.append("  \(imports)")
    }
    return lines
  }
}
