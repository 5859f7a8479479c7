/// Memory that was promised and is taken at first use.
protocol Promise: AnyObject, Sendable {
  /// Bytes that have no page yet.
  var untouchedBytes: UInt64 { get }
}
