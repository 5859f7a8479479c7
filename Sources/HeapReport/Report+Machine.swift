extension Report {
  /// What a reader of a bug report asks about the machine first. Nil is what it did not tell.
  package struct Machine: Codable, Equatable, Sendable {
    /// `/proc/version`, with compiler and date of build.
    package var kernelVersion: String?
    package var commandLine: String?
    package var architecture: String?
    /// The board, by its device tree or its firmware.
    package var model: String?
    package var processor: String?
    package var processors: Int?
    package var pageBytes: UInt64?
    package var memoryBytes: UInt64?
    package var availableBytes: UInt64?
    /// All contiguous regions together.
    package var contiguousBytes: UInt64?
    package var contiguousFreeBytes: UInt64?
    package var distribution: String?
    package var user: String?
    /// The file that the options are from.
    package var optionsSource: String?
    /// Kernel options by their names without `CONFIG_`; `n` for what is not set.
    package var options: [String: String]

    package init(options: [String: String] = [:]) { self.options = options }
  }

  /// A heap that was checked, or that is here and could not be.
  package struct Heap: Codable, Equatable, Sendable {
    package var name: String
    package var role: String?
    package var kind: String
    package var path: String?
    package var duplicateOf: String?
    package var mode: String?
    package var owner: String?
    package var group: String?
    package var usable: Bool
    package var capacityBytes: UInt64?
    package var freeBytes: UInt64?

    package init(name: String, kind: String, usable: Bool = true) {
      self.name = name
      self.kind = kind
      self.usable = usable
    }
  }
}
