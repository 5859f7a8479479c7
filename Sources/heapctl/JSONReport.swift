internal import FoundationEssentials
internal import LinuxHeaps

/// What every JSON output of heapctl begins with.
struct JSONReport<Body: Encodable>: Encodable {
  /// Rises when a field changes its meaning or goes away.
  let schemaVersion = 1
  let kernelRelease = LinuxHeaps.kernelRelease
  let body: Body
  /// The name of the body's field.
  let name: String

  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(schemaVersion, forKey: Key("schemaVersion"))
    try container.encode(kernelRelease, forKey: Key("kernelRelease"))
    try container.encode(body, forKey: Key(name))
  }

  func show() throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    heapctl.show(String(decoding: try encoder.encode(self), as: UTF8.self))
  }
}
