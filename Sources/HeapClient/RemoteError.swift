internal import LinuxHeaps

/// What goes wrong only with a heap in another process.
enum RemoteError {
  static func nonsense(_ operation: String, _ path: String) -> HeapError {
    HeapError(
      .internal, operation, at: path, cause: "the service's answer is not of the protocol",
      fix: "use a service of the same version")
  }

  static func refusal(_ code: HeapError.Code, _ operation: String, _ path: String) -> HeapError {
    let (cause, fix): (String, String?) =
      switch code {
      case .noResources:
        ("a quota of the service is used up", "close buffers; the service's log says which quota")
      case .noMemory: ("the heap, the machine or the budget cannot serve it", "close buffers")
      case .alreadyExists: ("the service has that buffer already", nil)
      case .invalidArgs: ("a buffer has at least one page", "ask for 1 byte or more")
      case .outOfRange: ("rounded up to pages that is over 2^63 - 1", nil)
      case .notSupported: ("the service has no such memory, or no such method", nil)
      default: ("the service refused; its log says why", nil)
      }
    return HeapError(code, operation, at: path, cause: cause, fix: fix)
  }
}
