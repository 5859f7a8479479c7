internal import SystemPackage

extension VMO {
  /// The name that the kernel shows for the buffer, nil where it has none.
  ///
  /// For a dma-buf it is one for all handles and any holder may have changed it.
  public var name: String? {
    get throws(HeapError) {
      switch kind {
      case .dmaBuf:
        return try dmaBufInfo("read a vmo's name").name
      case .memfd, .opaque:
        let link = try attempt("read a vmo's name") { () throws(Errno) in
          try SmallFile.link("/proc/self/fd/\(fd.rawValue)")
        }
        // "/memfd:NAME (deleted)", proc(5)
        guard link.hasPrefix("/memfd:"), link.hasSuffix(" (deleted)") else { return nil }
        return String(link.dropFirst(7).dropLast(10))
      }
    }
  }

  /// Names the buffer, for everybody (`DMA_BUF_SET_NAME`, linux/dma-buf.h).
  ///
  /// Throws ``HeapError/Code/outOfRange`` for more than 31 bytes and
  /// ``HeapError/Code/notSupported`` for a memfd, whose name is given once, when it is made.
  public func setName(_ name: String) throws(HeapError) {
    let operation = "name a vmo \"\(name)\""
    guard kind == .dmaBuf else {
      throw HeapError(.notSupported, operation, cause: "a \(kind.rawValue) keeps its first name")
    }
    guard name.utf8.count <= DMABuf.longestName else {
      throw HeapError(
        .outOfRange, operation, cause: "\(name.utf8.count) bytes; the kernel takes 31")
    }
    guard !name.utf8.contains(0) else {
      throw HeapError(.invalidArgs, operation, cause: "the name has a NUL byte")
    }
    try attempt(operation) { () throws(Errno) in
      try DMABuf.setName(name, of: fd.rawValue)
    }
  }

  /// References to the buffer's open file in the whole system, its heap's own included: descriptors
  /// in every process, mappings, messages in flight, imports of devices.
  ///
  /// Nil for a memfd, whose references the kernel does not tell.
  public var referenceCount: Int? {
    get throws(HeapError) {
      guard kind == .dmaBuf else { return nil }
      return try dmaBufInfo("count a vmo's references").count
    }
  }

  /// The exporter's name: the kernel's heap, or `udmabuf`; nil for a memfd.
  public var exporterName: String? {
    get throws(HeapError) {
      guard kind == .dmaBuf else { return nil }
      return try dmaBufInfo("read a vmo's exporter").exporter
    }
  }

  private func dmaBufInfo(_ operation: String) throws(HeapError) -> FDInfo {
    let info = try attempt(operation) { () throws(Errno) in
      try FDInfoDirectory.shared.get().read(fd.rawValue)
    }
    guard let info else {
      throw HeapError(.internal, operation, cause: "fdinfo does not describe a dma-buf")
    }
    return info
  }
}
