import HeapClient
import LinuxHeaps
import TestSupport

/// A vmo that a test puts aside.
final class HeldVMO: Sendable {
  private let vmo: Guarded<VMO?>

  init(_ vmo: consuming sending VMO) { self.vmo = Guarded(vmo) }

  /// A second handle; nil once it is taken.
  func duplicate() throws(HeapError) -> HeldVMO? {
    try vmo.withLock { (vmo) throws(HeapError) in
      switch vmo {
      case .some(let vmo): HeldVMO(try vmo.duplicate())
      case .none: nil
      }
    }
  }

  func take() -> VMO? { vmo.withLock { $0.take() } }

  /// Nil once it is taken.
  func peek(at offset: Int) throws(HeapError) -> UInt8? {
    try vmo.withLock { (vmo) throws(HeapError) in
      switch vmo {
      case .some(let vmo): try vmo.peek(at: offset)
      case .none: nil
      }
    }
  }

  /// What a service says of it; nil once it is taken.
  func info(from heap: RemoteHeap) throws(HeapError) -> BufferKey? {
    try vmo.withLock { (vmo) throws(HeapError) in
      switch vmo {
      case .some(let vmo): try heap.info(of: vmo)
      case .none: nil
      }
    }
  }
}
