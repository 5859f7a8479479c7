/// Why bytes are not the message that they were taken for.
public struct WireError: Error, Hashable, Sendable {
  /// The path to the field, e.g. `settings.buffer_settings.size_bytes`, in the names of the
  /// protocol's definition; `message`, `header` and `body` where a whole one is meant, `#7` for an
  /// unknown field of ordinal 7, `[2]` for an element, `response`, `err` and `framework_err` for a
  /// result's members.
  public let field: String
  /// Bytes from the message's start to what is wrong.
  ///
  /// For ``Fault/truncated``, to the object that does not fit; for ``Fault/absent``, to the table;
  /// for what is wrong with an envelope, to the envelope; for ``Fault/surplusHandle``, to the
  /// message's end.
  public let offset: Int
  /// What is wrong there.
  public let fault: Fault

  init(_ fault: Fault, at offset: Int, in field: String = "") {
    self.field = field
    self.offset = offset
    self.fault = fault
  }

  /// The same, with one more name before the path. Only errors pay for their paths.
  func within(_ name: String) -> WireError {
    let separator = field.isEmpty || field.hasPrefix("[") ? "" : "."
    return WireError(fault, at: offset, in: name + separator + field)
  }
}

extension WireError: CustomStringConvertible {
  public var description: String { "\(field), at byte \(offset): \(fault)" }
}
