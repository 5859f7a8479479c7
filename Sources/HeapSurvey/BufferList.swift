package import LinuxHeaps
package import SystemPackage

/// Every dma-buf of the machine, as the kernel lists them for root.
package struct BufferList: Sendable {
  package enum Source: String, Sendable {
    /// `/sys/kernel/debug/dma_buf/bufinfo` (drivers/dma-buf/dma-buf.c).
    case debugfs
    /// The iterator for BPF programs. It tells no devices.
    case bpf
  }

  /// Why neither could be read.
  package struct Failure: Error {
    package let debugfs: Errno
    package let bpf: HeapError
  }

  package static let path = "/sys/kernel/debug/dma_buf/bufinfo"

  struct Entry: Equatable, Sendable {
    let size: UInt64
    let count: Int
    let exporter: String
    let inode: UInt64
    let name: String?
    /// Of the bus: those that imported it.
    var devices: [String] = []
  }

  let entries: [Entry]
  package let source: Source

  /// From debugfs, which tells more, else from the iterator.
  package static func read() throws(Failure) -> BufferList {
    do throws(Errno) { return try readDebugfs() } catch {
      do throws(HeapError) { return try iterate() } catch let failure {
        throw Failure(debugfs: error, bpf: failure)
      }
    }
  }

  static func readDebugfs() throws(Errno) -> BufferList {
    BufferList(parsing: try SmallFile.readAll(path))
  }

  /// How many carry the name of a collection's buffer; any holder can change a name.
  package func count(ofCollection id: UInt64) -> Int {
    entries.count { entry in
      entry.name.flatMap(BufferKey.init(parsing:))?.bufferCollectionID == id
    }
  }

  static func iterate() throws(HeapError) -> BufferList {
    BufferList(entries: try BufferIterator.read(), source: .bpf)
  }

  private init(entries: [Entry], source: Source) {
    self.entries = entries
    self.source = source
  }

  /// A buffer is a line of figures, its fences, and a list of devices under `Attached Devices:`.
  init(parsing text: String) {
    var entries: [Entry] = []
    var isInDevices = false
    for line in text.lines {
      if let entry = Entry(line) {
        entries.append(entry)
        isInDevices = false
      } else if line == "\tAttached Devices:" {
        isInDevices = true
      } else if line.hasPrefix("Total ") {
        isInDevices = false
      } else if isInDevices, line.hasPrefix("\t"), !entries.isEmpty {
        entries[entries.count - 1].devices.append(
          String(line.drop { $0 == "\t" || $0 == " " }))
      }
    }
    self.init(entries: entries, source: .debugfs)
  }
}

extension BufferList.Entry {
  /// `SIZE FLAGS MODE COUNT EXPORTER INODE NAME`, padded with zeros; a buffer without a name says
  /// `<none>`, or nothing.
  fileprivate init?(_ line: Substring) {
    guard line.first?.isNumber == true else { return nil }
    let fields = line.split(separator: "\t", maxSplits: 6, omittingEmptySubsequences: false)
      .map { $0.drop { $0 == " " } }
    guard fields.count >= 6, let size = UInt64(fields[0]), let count = Int(fields[3]),
      let inode = UInt64(fields[5])
    else { return nil }
    let name = fields.count > 6 ? fields[6] : ""
    self.init(
      size: size, count: count, exporter: String(fields[4]), inode: inode,
      name: name.isEmpty || name == "<none>" ? nil : String(name))
  }
}
