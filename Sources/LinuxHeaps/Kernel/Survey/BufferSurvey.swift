internal import Glibc
internal import SystemPackage

/// Who holds which buffer, as far as this user may know: every process's descriptors and mappings, and
/// the kernel's own list.
package struct BufferSurvey: Sendable {
  /// By size, the largest first.
  package let buffers: [HeldBuffer]
  /// Processes, not kernel threads, whose descriptors or mappings this user may not see.
  package let unseenProcesses: Int
  /// Which of the kernel's own lists was read.
  package let list: Result<BufferList.Source, BufferList.Failure>

  package init() {
    self.init(list: Result { () throws(BufferList.Failure) in try BufferList.read() })
  }

  init(list: Result<BufferList, BufferList.Failure>) {
    var found: [HeldBuffer.Key: HeldBuffer] = [:]
    var unseen = 0
    for process in ProcessReferences.processes() where process != getpid() {
      do throws(Errno) {
        let references = try ProcessReferences(process)
        if references.lacksMappings { unseen += 1 }
        Self.add(references, to: &found)
      } catch  where error == .permissionDenied || error == .notPermitted {
        if !ProcessReferences.isKernelThread(process) { unseen += 1 }
      } catch {
        // Ended meanwhile.
      }
    }
    if case .success(let list) = list { Self.add(list, to: &found) }
    self.list = list.map(\.source)
    unseenProcesses = unseen
    buffers = found.values.sorted {
      ($0.size ?? 0, $1.key.inode) > ($1.size ?? 0, $0.key.inode)
    }
  }

  private static func add(
    _ references: ProcessReferences, to found: inout [HeldBuffer.Key: HeldBuffer]
  ) {
    var descriptors: [HeldBuffer.Key: Int] = [:]
    var mappings: [HeldBuffer.Key: Int] = [:]
    for descriptor in references.descriptors {
      guard let key = note(descriptor.file, in: &found) else { continue }
      descriptors[key, default: 0] += 1
      guard key.kind == .dmaBuf, found[key]?.count == nil else { continue }
      let path = "/proc/\(references.process)/fdinfo/\(descriptor.number)"
      if let info = (try? SmallFile.read(path)).flatMap(FDInfo.init(parsing:)) {
        found[key]?.heap = info.exporter
        found[key]?.name = info.name
        found[key]?.count = info.count
      }
    }
    for mapping in references.mappings {
      guard let key = note(mapping, in: &found) else { continue }
      mappings[key, default: 0] += 1
    }
    for key in Set(descriptors.keys).union(mappings.keys) {
      found[key]?.holders.append(
        Holders.Holder(
          references, descriptors: descriptors[key] ?? 0, mappings: mappings[key] ?? 0))
    }
  }

  /// Nil for a file that is no buffer: the memfd under a udmabuf, whose dma-buf is listed itself.
  private static func note(
    _ file: BufferFile, in found: inout [HeldBuffer.Key: HeldBuffer]
  ) -> HeldBuffer.Key? {
    let key = HeldBuffer.Key(kind: file.kind, inode: file.identity.inode)
    if file.kind == .memfd, let mode = file.mode, mode & 0o111 != 0 { return nil }
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
