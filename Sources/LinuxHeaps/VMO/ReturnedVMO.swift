/// Holds a vmo on its way back to the caller of a refused request; closes it if nobody takes it.
public final class ReturnedVMO: Sendable {
  private let vmo: Guarded<VMO?>

  package init(_ vmo: consuming sending VMO) { self.vmo = Guarded(vmo) }

  /// Whether ``take()`` was called.
  public var isTaken: Bool {
    vmo.withLock { vmo in
      switch vmo {
      case .some: false
      case .none: true
      }
    }
  }

  /// The vmo, once; nil after that.
  public func take() -> VMO? { vmo.withLock { $0.take() } }
}
