internal import SystemPackage

extension HeapError {
  /// Why a device node could not be opened, with who may.
  init(
    opening path: String, _ operation: String, _ error: Errno, absent: String, fix: String?
  ) {
    switch (error, NodeStatus(path)) {
    case (.permissionDenied, let node?):
      self.init(error, operation, at: path, cause: "the node is \(node)", fix: node.fix)
    case (.noSuchFileOrDirectory, _):
      self.init(error, operation, at: path, cause: absent, fix: fix)
    default:
      self.init(error, operation, at: path)
    }
  }
}
