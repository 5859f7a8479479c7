internal import SystemPackage

/// What the kernel tells of a dma-buf or a memfd of anybody's.
package struct BufferFacts: Sendable {
  package let identity: VMOIdentity
  package let kind: VMO.Kind
  /// Bytes of the whole buffer.
  package let byteCount: UInt64
  /// As ``VMO/referenceCount``, without the descriptor that was looked at.
  package let referenceCount: Int?
  package let exporterName: String?
  package let name: String?

  /// - Parameter descriptor: A duplicate, closed by this.
  /// - Throws: ``HeapError/Code/wrongType`` for a descriptor of something else.
  package init(_ descriptor: consuming OwnedFD, _ operation: String) throws(HeapError) {
    let number = descriptor.rawValue
    func link() throws(Errno) -> String { try SmallFile.link("/proc/self/fd/\(number)") }
    do throws(Errno) {
      identity = VMOIdentity(try descriptor.status())
      guard let found = try VMO.examine(descriptor) else {
        throw .inappropriateIOCTLForDevice
      }
      kind = found.kind
      byteCount = found.size
      exporterName = found.info?.exporter
      referenceCount = found.info.map { $0.count - 1 }
      name = if let info = found.info { info.name } else { Memfd.name(link: try link()) }
    } catch .inappropriateIOCTLForDevice {
      throw HeapError(
        .wrongType, operation,
        cause: "\((try? link()) ?? "an unknown file") is neither a dma-buf nor a memfd")
    } catch {
      throw HeapError(error, operation)
    }
  }
}
