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

  /// Every process but this one.
  package static func find(_ identity: VMOIdentity) -> [Holder] {
    ProcessReferences.processes().filter { $0 != getpid() }.compactMap { process in
      guard let references = try? ProcessReferences(process) else { return nil }
      let holder = Holder(
        references, descriptors: references.descriptors.count { $0.file.identity == identity },
        mappings: references.mappings.count { $0.identity == identity })
      return holder.descriptors + holder.mappings > 0 ? holder : nil
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
