/// What may change while the server runs: it is read again on SIGHUP.
public struct Policy: Hashable, Sendable {
  public var limits = Limits()
  public var access = AccessList()

  /// Without a file: the limits of ``Limits/init()``, and no list of users.
  public init() {}
}
