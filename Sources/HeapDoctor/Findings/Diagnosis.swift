internal import LinuxHeaps

/// All that was found on a machine.
package struct Diagnosis: Sendable {
  package let findings: [Finding]
  /// The release of the machine that was examined.
  package let kernel: String
  package let user: String
  package let container: String?

  /// - Parameter probing: Whether the largest free piece of each contiguous region is found out by
  ///   allocating it.
  package init(of machine: Machine, probing: Bool = false) {
    kernel = machine.release.text
    user = machine.identity.name
    container = machine.container
    let trial = Trial(of: machine)
    findings =
      KernelExamination.findings(machine)
      + HeapExamination.findings(machine, trial)
      + ContiguousExamination.findings(machine, trial, probing: probing)
      + UdevExamination.findings(machine)
      + MemoryExamination.findings(machine)
      + LimitExamination.findings(machine)
      + UDMABufExamination.findings(machine)
      + ImporterExamination.findings(machine, trial)
      + ServiceExamination.findings(machine)
  }

  package func findings(in area: Area) -> [Finding] { findings.filter { $0.area == area } }

  package func count(_ severity: Severity) -> Int { findings.count { $0.severity == severity } }

  package var isBroken: Bool { count(.broken) > 0 }
}
