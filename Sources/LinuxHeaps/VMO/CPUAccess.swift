internal import CLinuxHeaps
internal import SystemPackage

/// A time in which the processor works on a mapping's bytes; it cannot outlive the mapping.
///
/// For a dma-buf it stands between the two calls of `DMA_BUF_IOCTL_SYNC` that make the processor's
/// caches agree with the devices, and that wait for the fences of devices still at work. The same
/// flags go with both. Others can write to the memory meanwhile: read a value once and check the copy.
@safe
public struct CPUAccess<Rights: AccessRights>: ~Copyable, ~Escapable {
  private let memory: UnsafeMutableRawBufferPointer
  private let syncDescriptor: CInt

  @_lifetime(borrow mapping)
  init<Mapped: AccessRights>(_ mapping: borrowing Mapping<Mapped>) throws(HeapError) {
    unsafe memory = mapping.bytes
    syncDescriptor = mapping.syncDescriptor
    if syncDescriptor >= 0 {
      let descriptor = syncDescriptor
      try attempt("begin CPU access to a dma-buf") { () throws(Errno) in
        try DMABuf.sync(descriptor, Rights.bits.sync | UInt64(DMA_BUF_SYNC_START))
      }
    }
  }

  deinit { try? Self.endSync(syncDescriptor) }

  /// Ends the access and says whether the kernel took it; going out of scope ends it too.
  public consuming func end() throws(HeapError) {
    let descriptor = syncDescriptor
    discard self
    try attempt("end CPU access to a dma-buf") { () throws(Errno) in try Self.endSync(descriptor) }
  }

  private static func endSync(_ descriptor: CInt) throws(Errno) {
    if descriptor >= 0 {
      try DMABuf.sync(descriptor, Rights.bits.sync | UInt64(DMA_BUF_SYNC_END))
    }
  }

  public var bytes: RawSpan {
    @_lifetime(borrow self)
    get {
      let span = unsafe RawSpan(_unsafeBytes: UnsafeRawBufferPointer(memory))
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }
}

extension CPUAccess where Rights == ReadWrite {
  public var mutableBytes: MutableRawSpan {
    @_lifetime(&self)
    mutating get {
      let span = unsafe MutableRawSpan(_unsafeBytes: memory)
      return unsafe _overrideLifetime(span, mutating: &self)
    }
  }
}
