internal import Glibc
internal import SystemPackage

/// What one process holds of buffers: descriptors and mappings, as /proc shows them (proc(5)).
struct ProcessReferences {
  struct Descriptor {
    /// Its name under `/proc/PID/fd`.
    let number: String
    let file: BufferFile
  }

  let process: pid_t
  var descriptors: [Descriptor] = []
  var mappings: [BufferFile] = []
  /// The mappings could not be read, although the descriptors could.
  var lacksMappings = false

  /// Throws `EACCES` for another user's process, and `ENOENT` or `ESRCH` for one that is gone.
  init(_ process: pid_t) throws(Errno) {
    self.process = process
    let folder = "/proc/\(process)/fd"
    for number in try SmallFile.entries(of: folder) {
      // Only what the link says is worth a look: other files can be slow to tell their status.
      guard let link = try? SmallFile.link("\(folder)/\(number)"),
        let kind = BufferFile.Kind(link: link)
      else { continue }
      var status = stat()
      guard unsafe stat("\(folder)/\(number)", &status) == 0 else { continue }
      descriptors.append(
        Descriptor(number: number, file: BufferFile(kind: kind, link: link, status)))
    }
    do throws(Errno) {
      mappings = try MappedFiles.read(process).compactMap { region in
        guard let kind = BufferFile.Kind(link: region.path) else { return nil }
        // Followed for root alone; it tells the size where no descriptor is left to do so.
        var status = stat()
        if unsafe stat("/proc/\(process)/map_files/\(region.addresses)", &status) == 0,
          VMOIdentity(status) == region.identity
        {
          return BufferFile(kind: kind, link: region.path, status)
        }
        return BufferFile(kind: kind, link: region.path, identity: region.identity)
      }
    } catch {
      lacksMappings = true
    }
  }

  /// The program's name, `comm`.
  var program: String {
    let name = (try? SmallFile.read("/proc/\(process)/comm")) ?? ""
    return String(name.prefix { $0 != "\n" })
  }

  /// Every process that /proc lists.
  static func processes() -> [pid_t] {
    ((try? SmallFile.entries(of: "/proc")) ?? []).compactMap { pid_t($0) }.sorted()
  }

  /// Kernel threads have neither descriptors nor memory: `PF_KTHREAD` in the ninth field of `stat`,
  /// of which the second, in brackets, can hold anything.
  static func isKernelThread(_ process: pid_t) -> Bool {
    guard let text = try? SmallFile.read("/proc/\(process)/stat"),
      let end = text.lastIndex(of: ")")
    else { return false }
    let fields = text[text.index(after: end)...].split(separator: " ")
    return fields.count > 6 && (UInt64(fields[6]) ?? 0) & 0x20_0000 != 0
  }
}
