internal import FoundationEssentials
internal import LinuxHeaps

extension Report {
  package var json: String {
    get throws { try text(.prettyPrinted) + "\n" }
  }

  /// For a `<script>` of HTML: no `<` in it, so that nothing in it ends the element.
  var embeddableJSON: String {
    get throws { try text([]).unicodeScalars.map { $0 == "<" ? "\\u003c" : String($0) }.joined() }
  }

  private func text(_ formatting: JSONEncoder.OutputFormatting) throws -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting.union([.sortedKeys, .withoutEscapingSlashes])
    return String(decoding: try encoder.encode(self), as: UTF8.self)
  }

  /// Why a text is no report.
  package struct Unreadable: Error, CustomStringConvertible {
    package let description: String
  }

  /// Reads back what ``json`` or ``html`` wrote.
  package init(reading text: String) throws(Unreadable) {
    var json = text
    if let page = text.parted(at: Self.scriptStart) {
      guard let script = page.after.parted(at: "</script>") else {
        throw Unreadable(description: "the page ends inside its JSON")
      }
      json = script.before
    }
    do {
      self = try JSONDecoder().decode(Report.self, from: Data(json.utf8))
    } catch {
      throw Unreadable(description: "it has no report of `heapctl verify` in it")
    }
    guard schemaVersion == 1 else {
      throw Unreadable(description: "its schemaVersion is \(schemaVersion), this program knows 1")
    }
  }

  static let scriptStart = "<script type=\"application/json\" id=\"report\">"
}
