package import HeapClient
package import LinuxHeaps

/// A vmo that a test puts aside.
package final class HeldVMO: Sendable {
  private let vmo: Guarded<VMO?>

  package init(_ vmo: consuming sending VMO) { self.vmo = Guarded(vmo) }

  /// A second handle; nil once it is taken.
  package func duplicate() throws(HeapError) -> HeldVMO? {
    try vmo.withLock { (vmo) throws(HeapError) in
      switch vmo {
      case .some(let vmo): HeldVMO(try vmo.duplicate())
      case .none: nil
      }
    }
  }

  package func take() -> VMO? { vmo.withLock { $0.take() } }

  /// Nil once it is taken.
  package func peek(at offset: Int) throws(HeapError) -> UInt8? {
    try vmo.withLock { (vmo) throws(HeapError) in
      switch vmo {
      case .some(let vmo): try vmo.peek(at: offset)
      case .none: nil
      }
    }
  }

  /// What a service says of it; nil once it is taken.
  package func info(from heap: RemoteHeap) throws(HeapError) -> BufferKey? {
    try vmo.withLock { (vmo) throws(HeapError) in
      switch vmo {
      case .some(let vmo): try heap.info(of: vmo)
      case .none: nil
      }
    }
  }
}
