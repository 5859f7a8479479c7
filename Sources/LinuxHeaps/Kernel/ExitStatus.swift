/// How `heapctl`, whatever the verb, and `heapd` end (sysexits(3)).
package enum ExitStatus: Int32 {
  case success = 0
  case failure = 1
  case wrongUsage = 64
  case unavailable = 69
  case noPermission = 77

  package init(_ code: HeapError.Code) {
    self =
      switch code {
      case .accessDenied: .noPermission
      case .notFound, .notSupported, .wrongType: .unavailable
      default: .failure
      }
  }

  /// As both programs' help has them; the manuals and README say the same.
  package static let table = """
      0   success
      1   a check failed, a request was refused, or output was not written
      64  wrong usage
      69  no such heap, device, service, process or file, or none that can do it
      77  permission denied
    """
}
