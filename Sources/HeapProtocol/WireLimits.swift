/// What no message may exceed.
public enum WireLimits {
  /// Bytes of a message, with its header.
  public static let maxBytes = 65_536
  /// Handles that travel with a message.
  public static let maxHandles = 64
  /// Objects inside one another that are not in line: a table's envelopes, what an envelope holds,
  /// a vector's elements, a string's characters.
  public static let maxDepth = 32
}
