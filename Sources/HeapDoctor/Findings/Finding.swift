/// One thing that was seen on a machine, and what it means to somebody who wants buffers.
package struct Finding: Equatable, Sendable, Encodable {
  /// Stays the same from version to version: `area.cause`.
  package let id: String
  package let severity: Severity
  package let area: Area
  /// The fact, with names and figures.
  package let seen: String
  /// What follows from it.
  package let why: String
  /// A command that mends it, nil where nothing has to be.
  package let fix: String?

  init(
    _ severity: Severity, _ area: Area, _ id: String, seen: String, why: String, fix: String? = nil
  ) {
    self.id = id
    self.severity = severity
    self.area = area
    self.seen = seen
    self.why = why
    self.fix = fix
  }
}

/// How much a finding matters.
package enum Severity: String, Comparable, Sendable, Encodable {
  /// As it should be.
  case ok
  /// Worth knowing; allocation works.
  case note
  /// Some requests fail, or may fail later.
  case warning
  /// Requests fail now.
  case broken

  private var rank: Int {
    switch self {
    case .ok: 0
    case .note: 1
    case .warning: 2
    case .broken: 3
    }
  }

  package static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
}

/// What is examined, in the order of a report.
package enum Area: String, CaseIterable, Sendable, Encodable {
  case kernel
  case heaps
  case contiguous
  case udev
  case memory
  case limits
  case udmabuf
  case importers
  case service
}
