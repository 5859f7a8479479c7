package import CLibrary
package import LinuxHeaps
internal import SystemPackage

/// Who holds which buffer, as far as this user may know: every process's descriptors and mappings, and
/// the kernel's own list.
package struct BufferSurvey: Sendable {
  /// By size, the largest first.
  package let buffers: [HeldBuffer]
  /// Processes, not kernel threads, whose descriptors or mappings this user may not see.
  package let unseenProcesses: Int
  /// Why /proc does not list every process; nil where it does.
  package let hidden: String?
  /// Which of the kernel's own lists was read.
  package let list: Result<BufferList.Source, BufferList.Failure>
  /// The devices that imported a buffer, where debugfs could be read.
  package let importers: [Importer]
  /// Who has messages with descriptors that it did not receive yet; looked for where a dma-buf has references that no process
  /// was seen to hold.
  package let recipients: [Recipient]

  /// A process to which descriptors are on their way, whatever they are of.
  package struct Recipient: Sendable {
    package let process: pid_t
    /// The program's name, `comm`.
    package let name: String
    package let descriptors: Int
  }

  package init() {
    self.init(list: Result { () throws(BufferList.Failure) in try BufferList.read() })
  }

  init(list: Result<BufferList, BufferList.Failure>) {
    var found: [HeldBuffer.Key: HeldBuffer] = [:]
    var unseen = 0
    var importers = ImporterSearch(try? list.get())
    var sockets: [pid_t: [String]] = [:]
    for process in ProcessReferences.processes() where process != getpid() {
      do throws(Errno) {
        let references = try ProcessReferences(process)
        if references.lacksMappings { unseen += 1 }
        Self.add(references, to: &found)
        importers.add(references)
        if !references.sockets.isEmpty { sockets[process] = references.sockets }
      } catch  where error == .permissionDenied || error == .notPermitted {
        if !ProcessReferences.isKernelThread(process) { unseen += 1 }
      } catch {
        // Ended meanwhile.
      }
    }
    if case .success(let list) = list { Self.add(list, to: &found) }
    // What was freed while the processes were looked through has no holder left to be found.
    if found.values.contains(where: \.isInNoProcess), let later = try? BufferList.read() {
      let inodes = Set(later.entries.map(\.inode))
      found = found.filter { !$1.isInNoProcess || inodes.contains($0.inode) }
    }
    self.list = list.map(\.source)
    self.importers = importers.found
    recipients =
      found.values.contains { ($0.beyond ?? 0) > 0 } ? Self.recipients(sockets) : []
    unseenProcesses = unseen
    hidden = ProcessReferences.hidden
    buffers = found.values.sorted {
      ($0.size ?? 0, $1.key.inode) > ($1.size ?? 0, $0.key.inode)
    }
  }

  private static func add(
    _ references: ProcessReferences, to found: inout [HeldBuffer.Key: HeldBuffer]
  ) {
    for (key, count) in references.counted(by: { note($0, in: &found) }) {
      found[key]?.holders.append(Holder(references, count))
    }
    for descriptor in references.descriptors {
      let key = descriptor.file.key
      guard key.kind == .dmaBuf, found[key]?.count == nil else { continue }
      let path = "/proc/\(references.process)/fdinfo/\(descriptor.number)"
      if let info = (try? SmallFile.read(path)).flatMap(FDInfo.init(parsing:)) {
        found[key]?.heap = info.exporter
        found[key]?.name = info.name
        found[key]?.count = info.count
      }
    }
  }

  /// Nil for a file that is no buffer: the memfd under a udmabuf, whose dma-buf is listed itself. It has the mode that memfds are made with,
  /// 0777, or 0666 by the sysctl vm.memfd_noexec, and a heap's memfd one of its own.
  private static func note(
    _ file: BufferFile, in found: inout [HeldBuffer.Key: HeldBuffer]
  ) -> HeldBuffer.Key? {
    let key = file.key
    if file.kind == .memfd, let mode = file.mode, mode & 0o077 != 0 { return nil }
    var buffer = found[key] ?? HeldBuffer(key)
    buffer.isInProcesses = true
    buffer.size = buffer.size ?? file.size
    buffer.name = buffer.name ?? file.name
    if file.kind == .memfd {
      // No page of an opaque vmo can be mapped, so its mode was seen.
      buffer.heap = file.mode.map { $0 & 0o400 == 0 } == true ? OpaqueHeap.name : MemfdHeap.name
    }
    found[key] = buffer
    return key
  }

  /// fdinfo of a UNIX-domain socket has how many descriptors wait in it: `scm_fds` (net/unix/af_unix.c).
  private static func recipients(_ sockets: [pid_t: [String]]) -> [Recipient] {
    sockets.sorted { $0.key < $1.key }.compactMap { process, numbers in
      let waiting = numbers.reduce(0) { sum, number in
        let info = (try? SmallFile.read("/proc/\(process)/fdinfo/\(number)")) ?? ""
        let line = info.split(separator: "\n").first { $0.hasPrefix("scm_fds:") }
        return sum + (line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? 0)
      }
      guard waiting > 0 else { return nil }
      return Recipient(
        process: process, name: ProcessReferences.program(of: process), descriptors: waiting)
    }
  }

  private static func add(_ list: BufferList, to found: inout [HeldBuffer.Key: HeldBuffer]) {
    for key in found.keys where key.kind == .dmaBuf { found[key]?.isInList = false }
    for entry in list.entries {
      let key = HeldBuffer.Key(kind: .dmaBuf, inode: entry.inode)
      var buffer = found[key] ?? HeldBuffer(key)
      buffer.isInList = true
      buffer.heap = buffer.heap ?? entry.exporter
      buffer.size = buffer.size ?? entry.size
      buffer.name = buffer.name ?? entry.name
      buffer.count = buffer.count ?? entry.count
      buffer.devices = entry.devices
      found[key] = buffer
    }
  }
}

/// One buffer of the machine, and who holds it.
package struct HeldBuffer: Sendable {
  /// What the kernel knows it by: dma-bufs share one file system, memfds another.
  package struct Key: Hashable, Sendable {
    let kind: BufferFile.Kind
    package let inode: UInt64
  }

  package let key: Key
  /// The exporter of a dma-buf; `memfd` or `opaque`; nil where nothing tells it.
  package internal(set) var heap: String?
  /// Bytes; nil where only a mapping told of the buffer.
  package internal(set) var size: UInt64?
  /// Its name in the kernel.
  package internal(set) var name: String?
  /// References to a dma-buf in the whole system; the kernel tells none of a memfd.
  package internal(set) var count: Int?
  /// The devices that imported it, where debugfs could be read.
  package internal(set) var devices: [String] = []
  package internal(set) var holders: [Holder] = []
  /// Found in a process.
  package internal(set) var isInProcesses = false
  /// Found in the kernel's own list; nil where there is none to look into.
  package internal(set) var isInList: Bool?

  init(_ key: Key) { self.key = key }

  package var isDMABuf: Bool { key.kind == .dmaBuf }

  /// Found in the kernel's own list alone: no process was seen with a descriptor or a mapping of it.
  package var isInNoProcess: Bool { holders.isEmpty }

  /// What this package's heaps call it; any holder of a dma-buf can change its name.
  package var label: BufferKey? { name.flatMap(BufferKey.init(parsing:)) }

  /// References that processes hold.
  package var seen: Int { holders.reduce(0) { $0 + $1.descriptors + $1.mappings } }

  /// References that no process was seen to hold. The figures are of moments close to each other, so
  /// what changes hands meanwhile can be missed or counted twice.
  package var beyond: Int? { count.map { max(0, $0 - seen) } }
}

extension BufferFile {
  fileprivate var key: HeldBuffer.Key { HeldBuffer.Key(kind: kind, inode: identity.inode) }
}
