internal import Glibc

/// A buffer's file, as a descriptor or a mapping of some process shows it.
struct BufferFile {
  enum Kind: Hashable {
    case dmaBuf
    /// One that a heap of this package named.
    case memfd

    /// By where the link of a descriptor or mapping points. The memfd that only tries out leases is
    /// none (``MemfdParent``).
    init?(link: String) {
      if link.hasPrefix("/dmabuf:") {
        self = .dmaBuf
      } else if BufferName(parsing: Self.memfdName(link) ?? "") != nil {
        self = .memfd
      } else {
        return nil
      }
    }

    /// Of "/memfd:NAME (deleted)".
    static func memfdName(_ link: String) -> String? {
      guard link.hasPrefix("/memfd:"), link.hasSuffix(" (deleted)") else { return nil }
      return String(link.dropFirst(7).dropLast(10))
    }
  }

  let kind: Kind
  let identity: VMOIdentity
  /// Nil where only a mapping told of it.
  let size: UInt64?
  /// The permission bits, likewise.
  let mode: mode_t?
  /// Nil for a dma-buf without a name.
  let name: String?

  init(kind: Kind, link: String, _ status: stat) {
    self.init(
      kind: kind, link: link, identity: VMOIdentity(status), size: UInt64(status.st_size),
      mode: status.st_mode & 0o7777)
  }

  init(
    kind: Kind, link: String, identity: VMOIdentity, size: UInt64? = nil, mode: mode_t? = nil
  ) {
    self.kind = kind
    self.identity = identity
    self.size = size
    self.mode = mode
    let name = kind == .dmaBuf ? String(link.dropFirst(8)) : Kind.memfdName(link)
    self.name = name == "" ? nil : name
  }
}
