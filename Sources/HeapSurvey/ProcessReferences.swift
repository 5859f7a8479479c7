package import CLibrary
package import LinuxHeaps
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
  /// The numbers of its descriptors that are of a file in /dev, and of those that are sockets.
  var nodes: [(number: String, path: String)] = []
  var sockets: [String] = []
  /// The mappings could not be read, although the descriptors could.
  var lacksMappings = false

  /// - Throws: `EACCES` for another user's process, and `ENOENT` or `ESRCH` for one that is gone.
  init(_ process: pid_t) throws(Errno) {
    self.process = process
    let folder = "/proc/\(process)/fd"
    for number in try SmallFile.entries(of: folder) {
      let link: String
      do throws(Errno) { link = try SmallFile.link("\(folder)/\(number)") } catch {
        // Root without CAP_SYS_PTRACE may list them, and follow none.
        if error == .permissionDenied || error == .notPermitted { throw error }
        continue
      }
      if let file = BufferFile(link: link, at: "\(folder)/\(number)") {
        descriptors.append(Descriptor(number: number, file: file))
      } else if link.hasPrefix("/dev/") {
        nodes.append((number, link))
      } else if link.hasPrefix("socket:") {
        sockets.append(number)
      }
    }
    do throws(Errno) {
      mappings = try MappedFiles.read(process).compactMap {
        // Followed for root alone; it tells the size where no descriptor is left to do so.
        BufferFile(
          link: $0.path, at: "/proc/\(process)/map_files/\($0.addresses)", mapped: $0.identity)
      }
    } catch {
      lacksMappings = true
    }
  }

  typealias Count = (descriptors: Int, mappings: Int)

  /// How many there are of each buffer. Files without a key are left out.
  func counted<Key: Hashable>(by key: (BufferFile) -> Key?) -> [Key: Count] {
    var counts: [Key: Count] = [:]
    for descriptor in descriptors {
      if let key = key(descriptor.file) { counts[key, default: (0, 0)].descriptors += 1 }
    }
    for file in mappings {
      if let key = key(file) { counts[key, default: (0, 0)].mappings += 1 }
    }
    return counts
  }

  /// The program's name, `comm`: up to 15 bytes of its own choice, line feeds among them.
  var program: String { Self.program(of: process) }

  /// Without the line feed that the kernel puts after it.
  static func program(of process: pid_t) -> String {
    ((try? SmallFile.read("/proc/\(process)/comm")) ?? "").lines.dropLast().joined(separator: "\n")
  }

  /// Every process that /proc lists.
  static func processes() -> [pid_t] {
    ((try? SmallFile.entries(of: "/proc")) ?? []).compactMap { pid_t($0) }.sorted()
  }

  /// What keeps processes out of the list of all; nil where it is whole.
  static var hidden: String? {
    // Each namespace has a process 1, which only `hidepid` can keep out of sight.
    if unsafe access("/proc/1", F_OK) != 0 { return "/proc is mounted with hidepid" }
    do throws(Errno) {
      let namespace = try SmallFile.link("/proc/self/ns/pid")
      return namespace == Surroundings.firstPIDNamespace
        ? nil : "this is a PID namespace of its own"
    } catch {
      // Of a kernel without CONFIG_PID_NS (fs/proc/namespaces.c).
      return error == .noSuchFileOrDirectory ? nil : "the PID namespace is not told: \(error)"
    }
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

/// A buffer's file, as a descriptor or a mapping of some process shows it.
struct BufferFile {
  enum Kind: Hashable {
    case dmaBuf
    /// One that a heap of this package named.
    case memfd
  }

  let kind: Kind
  /// Nil for a dma-buf without a name.
  let name: String?
  let identity: VMOIdentity
  /// Nil where only a mapping told of it.
  let size: UInt64?
  /// The permission bits, likewise.
  let mode: mode_t?

  /// Nil for what is no buffer. The memfd that only tries out leases is none.
  ///
  /// - Parameters:
  ///   - link: Where the link of the descriptor or mapping points.
  ///   - path: The link itself. Its file is asked only where it is a buffer: others can be slow to answer.
  ///   - mapped: What `/proc/PID/maps` tells of a mapping's file.
  init?(link: String, at path: String, mapped: VMOIdentity? = nil) {
    if link.hasPrefix("/dmabuf:") {
      kind = .dmaBuf
      name = link == "/dmabuf:" ? nil : String(link.dropFirst(8))
    } else if let label = Memfd.name(link: link), BufferKey(parsing: label) != nil {
      kind = .memfd
      name = label
    } else {
      return nil
    }
    var status = stat()
    let found = unsafe stat(path, &status) == 0 ? VMOIdentity(status) : nil
    guard let identity = mapped ?? found else { return nil }
    self.identity = identity
    size = found == identity ? UInt64(status.st_size) : nil
    mode = found == identity ? status.st_mode & 0o7777 : nil
  }
}

/// The mappings of a process that are of files (`/proc/PID/maps`, proc(5)).
enum MappedFiles {
  struct Region: Equatable {
    /// As `/proc/PID/map_files` spells them.
    let addresses: String
    let identity: VMOIdentity
    let path: String
  }

  /// Only those whose path is a dma-buf's or a memfd's.
  static func read(_ process: pid_t) throws(Errno) -> [Region] {
    parse(try SmallFile.readAll("/proc/\(process)/maps"))
  }

  /// The lines are found with the C library's searches: a process can have a hundred thousand, and
  /// few are of interest.
  static func parse(_ text: String) -> [Region] {
    unsafe text.withCString { text in
      var regions: [Region] = []
      for needle in ["/dmabuf:", "/memfd:"] {
        var start = unsafe text
        while let hit = unsafe strstr(start, needle) {
          var line = unsafe UnsafePointer(hit)
          while unsafe line > text && line[-1] != newline { unsafe line -= 1 }
          let end = unsafe strchrnul(hit, CInt(newline))
          let bytes = unsafe UnsafeRawBufferPointer(start: line, count: UnsafePointer(end) - line)
          // Elsewhere in the line it is part of another path.
          if let region = unsafe Region(String(decoding: bytes, as: UTF8.self)),
            region.path.hasPrefix(needle)
          {
            regions.append(region)
          }
          unsafe start = UnsafePointer(end)
        }
      }
      return regions
    }
  }

  private static let newline = CChar(UInt8(ascii: "\n"))

  private static func strchrnul(
    _ text: UnsafePointer<CChar>, _ character: CInt
  ) -> UnsafeMutablePointer<CChar> {
    unsafe strchr(text, character) ?? UnsafeMutablePointer(mutating: text + strlen(text))
  }
}

extension MappedFiles.Region {
  /// A line is `ADDRESSES RIGHTS OFFSET MAJOR:MINOR INODE PATH`, device numbers in base 16.
  fileprivate init?(_ line: String) {
    let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
    guard fields.count == 6 else { return nil }
    let path = fields[5].drop { $0 == " " }
    guard let inode = UInt64(fields[4]) else { return nil }
    let numbers = fields[3].split(separator: ":").compactMap { UInt32($0, radix: 16) }
    guard numbers.count == 2 else { return nil }
    let device = Self.makedev(numbers[0], numbers[1])
    self.init(
      addresses: String(fields[0]), identity: VMOIdentity(device: device, inode: inode),
      path: String(path))
  }

  /// As glibc composes `st_dev` (makedev(3)).
  private static func makedev(_ major: UInt32, _ minor: UInt32) -> UInt64 {
    UInt64(major & 0xfff) << 8 | UInt64(major & ~0xfff) << 32 | UInt64(minor & 0xff)
      | UInt64(minor & ~0xff) << 12
  }
}

/// A process that holds a buffer, as far as /proc shows it to this user (proc(5)).
package struct Holder: Sendable, CustomStringConvertible {
  package let process: pid_t
  /// The program's name, `comm`.
  package let name: String
  package let descriptors: Int
  package let mappings: Int

  init(_ references: ProcessReferences, _ count: ProcessReferences.Count) {
    process = references.process
    name = references.program
    descriptors = count.descriptors
    mappings = count.mappings
  }

  package var description: String {
    "process \(process) (\(name.visible)): \(descriptors) descriptors, \(mappings) mappings"
  }

  /// Every process but this one that holds one of these, in one pass through all processes; buffers
  /// that nobody holds are left out.
  package static func find(_ identities: Set<VMOIdentity>) -> [VMOIdentity: [Holder]] {
    var found: [VMOIdentity: [Holder]] = [:]
    for process in ProcessReferences.processes() where process != getpid() {
      guard let references = try? ProcessReferences(process) else { continue }
      for (identity, count) in references.counted(by: { file in
        identities.contains(file.identity) ? file.identity : nil
      }) {
        found[identity, default: []].append(Holder(references, count))
      }
    }
    return found
  }
}
