@testable import LinuxHeaps

extension ReturnedVMO {
  struct Empty: Error {}

  /// The vmo that has to be there.
  func taken() throws(Empty) -> VMO {
    guard let vmo = take() else { throw Empty() }
    return vmo
  }

  /// Closes the vmo, if it is there.
  func drop() -> Bool {
    switch take() {
    case .some: true
    case .none: false
    }
  }
}
