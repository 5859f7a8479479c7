internal import LinuxHeaps
package import SystemPackage

/// The share of time in which work stood still for want of a resource
/// (Documentation/accounting/psi.rst, Linux 4.20).
package struct Pressure: Equatable, Sendable {
  package enum Resource: String, CaseIterable, Sendable {
    case memory, io, cpu

    /// Absent from a kernel without CONFIG_PSI, and from one booted without psi=1 where
    /// CONFIG_PSI_DEFAULT_DISABLED is set.
    package var path: String { "/proc/pressure/\(rawValue)" }
  }

  /// Of the last ten seconds and of the last minute.
  package struct Share: Equatable, Sendable {
    package let tenSeconds: Percentage
    package let minute: Percentage
  }

  package struct Percentage: Equatable, Sendable, CustomStringConvertible {
    package let hundredths: Int

    /// As the kernel writes it: `12.05`.
    package var description: String {
      let fraction = hundredths % 100
      return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }
  }

  /// At least one task waited.
  package let some: Share
  /// Every task that had something to do waited. The kernel tells nothing useful of the processors' here.
  package let full: Share?

  package static func read(_ resource: Resource) throws(Errno) -> Pressure {
    guard let pressure = Pressure(parsing: try SmallFile.read(resource.path)) else {
      throw .invalidArgument
    }
    return pressure
  }

  /// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and likewise `full`.
  package init?(parsing text: String) {
    func share(_ kind: String) -> Share? {
      let line = text.split(separator: "\n").first { $0.hasPrefix("\(kind) ") }
      func figure(_ name: String) -> Percentage? {
        let word = line?.split(separator: " ").first { $0.hasPrefix(name) }
        return word.flatMap { Percentage($0.dropFirst(name.count)) }
      }
      guard let tenSeconds = figure("avg10="), let minute = figure("avg60=") else { return nil }
      return Share(tenSeconds: tenSeconds, minute: minute)
    }
    guard let some = share("some") else { return nil }
    self.some = some
    full = share("full")
  }
}

extension Pressure.Percentage {
  fileprivate init?(_ text: Substring) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, parts[1].count == 2, let whole = UInt8(parts[0]),
      let fraction = UInt8(parts[1])
    else { return nil }
    hundredths = Int(whole) * 100 + Int(fraction)
  }
}
