package import Glibc

/// Processes that hold a buffer, as far as /proc shows them to this user (proc(5)).
package enum Holders {
  package struct Holder: Sendable, CustomStringConvertible {
    package let process: pid_t
    /// The program's name, `comm`.
    package let name: String
    package let descriptors: Int
    package let mappings: Int

    package var description: String {
      "process \(process) (\(name)): \(descriptors) descriptors, \(mappings) mappings"
    }
  }

  /// Of every process but this one, in one go through all of them; buffers that nobody holds are left
  /// out.
  package static func find(_ identities: Set<VMOIdentity>) -> [VMOIdentity: [Holder]] {
    var found: [VMOIdentity: [Holder]] = [:]
    for process in ProcessReferences.processes() where process != getpid() {
      guard let references = try? ProcessReferences(process) else { continue }
      let descriptors = references.descriptors.map(\.file.identity).counted(in: identities)
      let mappings = references.mappings.map(\.identity).counted(in: identities)
      for identity in Set(descriptors.keys).union(mappings.keys) {
        found[identity, default: []].append(
          Holder(
            references, descriptors: descriptors[identity, default: 0],
            mappings: mappings[identity, default: 0]))
      }
    }
    return found
  }
}

extension [VMOIdentity] {
  fileprivate func counted(in identities: Set<VMOIdentity>) -> [VMOIdentity: Int] {
    reduce(into: [:]) { counts, identity in
      if identities.contains(identity) { counts[identity, default: 0] += 1 }
    }
  }
}

extension Holders.Holder {
  init(_ references: ProcessReferences, descriptors: Int, mappings: Int) {
    self.init(
      process: references.process, name: references.program, descriptors: descriptors,
      mappings: mappings)
  }
}
