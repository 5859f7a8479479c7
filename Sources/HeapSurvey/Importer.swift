package import CLibrary
internal import LinuxHeaps

/// A device that imported buffers, and who has it open: an import lasts at most as long as the open file of the device that it
/// was made by.
package struct Importer: Sendable {
  package struct Opener: Sendable {
    package let process: pid_t
    /// The program's name, `comm`.
    package let name: String
    /// The device's node.
    package let path: String
  }

  /// On its bus.
  package let name: String
  package fileprivate(set) var openers: [Opener] = []
}

/// Who has importing devices open, found out process by process.
struct ImporterSearch {
  private var importers: [String: Importer] = [:]
  /// By `MAJOR:MINOR`; nil for a node without a device on a bus.
  private var devices: [String: String?] = [:]

  init(_ list: BufferList?) {
    for device in (list?.entries ?? []).flatMap(\.devices) {
      importers[device] = Importer(name: device)
    }
  }

  var found: [Importer] { importers.values.sorted { $0.name < $1.name } }

  mutating func add(_ references: ProcessReferences) {
    guard !importers.isEmpty else { return }
    for node in references.nodes {
      guard let device = device(of: "/proc/\(references.process)/fd/\(node.number)"),
        importers[device]?.openers.contains(where: {
          $0.process == references.process && $0.path == node.path
        }) == false
      else { continue }
      importers[device]?.openers.append(
        Importer.Opener(
          process: references.process, name: references.program, path: node.path))
    }
  }

  private mutating func device(of node: String) -> String? {
    guard let number = NodeStatus(node)?.deviceNumber else { return nil }
    if let known = devices[number] { return known }
    let link = try? SmallFile.link("/sys/dev/char/\(number)/device")
    let name = link?.split(separator: "/").last.map(String.init)
    devices[number] = .some(name)
    return name
  }
}
