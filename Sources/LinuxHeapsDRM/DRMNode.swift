internal import CDRM
internal import CLibrary
internal import LinuxHeaps

public import struct SystemPackage.Errno
public import struct SystemPackage.FilePath

/// A node in `/dev/dri`, and what its driver says of itself.
public struct DRMNode: Sendable {
  /// What a node is for (drm-uapi, "Primary Nodes, DRM Master and Authentication").
  public enum Kind: String, Sendable {
    /// `cardN`: displays, and all else.
    case primary
    /// `renderDN`: buffers, no displays.
    case render
  }

  public let path: FilePath
  public let kind: Kind
  /// Nil where this process may not open the node.
  public let driver: String?
  /// Why the node could not be opened.
  public let refusal: Errno?
  /// `DRM_PRIME_CAP_IMPORT`. Since Linux 6.6 the kernel says so of every driver with buffers: only an
  /// import tells whether one works.
  public let claimsImport: Bool
  /// Whether it has connectors for displays, of which none need be in use.
  public let hasConnectors: Bool

  /// Every node, the primary ones first, each by its number.
  public static func all() -> [DRMNode] {
    let names = (try? SmallFile.entries(of: "/dev/dri")) ?? []
    return [(Kind.primary, "card"), (Kind.render, "renderD")].flatMap { kind, prefix in
      names.filter { $0.hasPrefix(prefix) }.compactMap { Int($0.dropFirst(prefix.count)) }
        .sorted().map { DRMNode("/dev/dri/\(prefix)\($0)", kind) }
    }
  }

  private init(_ path: String, _ kind: Kind) {
    self.path = FilePath(path)
    self.kind = kind
    do throws(Errno) {
      let file = try DRMFile(path)
      driver = file.driver
      refusal = nil
      claimsImport =
        (file.capability(DRM_CAP_PRIME) ?? 0) & UInt64(DRM_PRIME_CAP_IMPORT) != 0
      hasConnectors = drmIsKMS(file.fd.rawValue) == 1
    } catch {
      driver = nil
      refusal = error
      claimsImport = false
      hasConnectors = false
    }
  }
}
